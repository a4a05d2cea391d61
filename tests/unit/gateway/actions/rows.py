"""Rows that tests of actions start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from gateway.store.schema import (
    association,
    authorization_rule,
    connection,
    endpoint,
    network,
    route,
    security_group,
)
from tests.unit.gateway.actions.harness import NOW

if TYPE_CHECKING:
    from sqlalchemy import Table

    from gateway.store import Store

ENDPOINT_ID = "cvpn-endpoint-00000000000000001"
FILE_ENDPOINT_ID = "cvpn-endpoint-0000000000000000f"

_ENDPOINT: dict[str, Any] = {
    "origin": "api",
    "status_code": "pending-associate",
    "created_at": NOW,
    "client_cidr_block": "10.20.0.0/22",
    "server_certificate_arn": "arn:aws:acm:here:123456789012:certificate/server",
    "authentication_options": [
        {
            "Type": "certificate-authentication",
            "MutualAuthentication": {"ClientRootCertificateChainArn": "arn:aws:acm:here:123456789012:certificate/ca"},
        }
    ],
    "transport_protocols": ["udp"],
    "vpn_port": 443,
    "dns_servers": [],
    "split_tunnel": False,
    "session_timeout_hours": 24.0,
    "disconnect_on_session_timeout": True,
    "default_security_group_ids": [],
    "connection_log_options": {"Enabled": False},
    "client_connect_options": {"Enabled": False},
    "client_login_banner_options": {"Enabled": False},
    "client_route_enforcement_options": {"Enforced": False},
    "self_service_portal": False,
    "endpoint_ip_address_type": "ipv4",
    "traffic_ip_address_type": "ipv4",
    "settings": {},
}


def add(store: Store, table: Table, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(insert(table).values(**values))


def add_endpoint(store: Store, endpoint_id: str = ENDPOINT_ID, **changes: Any) -> str:
    add(store, endpoint, **(_ENDPOINT | {"id": endpoint_id} | changes))
    return endpoint_id


def add_file_endpoint(store: Store, endpoint_id: str = FILE_ENDPOINT_ID, **changes: Any) -> str:
    declared = {"origin": "file", "name": "office", "declared_in": "/etc/portway/config.toml"}
    return add_endpoint(store, endpoint_id, **(declared | {"client_cidr_block": "10.99.0.0/24"} | changes))


def add_network(store: Store, subnet_id: str = "subnet-1", **changes: Any) -> str:
    values = {
        "vpc_id": "vpc-1",
        "vpc_name": "main",
        "name": subnet_id,
        "cidr": "192.168.10.0/24",
        "interface": "eth1",
        "zone": subnet_id,
        "nat": True,
        "node": "here",
    }
    add(store, network, **(values | {"subnet_id": subnet_id} | changes))
    return subnet_id


def add_association(store: Store, association_id: str = "cvpn-assoc-1", **changes: Any) -> str:
    values = {
        "endpoint_id": ENDPOINT_ID,
        "subnet_id": "subnet-1",
        "vpc_id": "vpc-1",
        "zone": "subnet-1",
        "status_code": "associated",
        "created_at": NOW,
    }
    add(store, association, **(values | {"id": association_id} | changes))
    return association_id


def add_route(store: Store, **changes: Any) -> None:
    values = {
        "endpoint_id": ENDPOINT_ID,
        "destination_cidr": "192.168.10.0/24",
        "subnet_id": "subnet-1",
        "association_id": "cvpn-assoc-1",
        "origin": "add-route",
        "status_code": "active",
        "created_at": NOW,
    }
    add(store, route, **(values | changes))


def add_rule(store: Store, **changes: Any) -> None:
    values = {
        "endpoint_id": ENDPOINT_ID,
        "destination_cidr": "192.168.10.0/24",
        "group_id": "",
        "status_code": "active",
        "created_at": NOW,
    }
    add(store, authorization_rule, **(values | changes))


def add_security_group(store: Store, group_id: str = "sg-1", **changes: Any) -> str:
    values = {"vpc_id": "vpc-1", "name": group_id, "description": "", "created_at": NOW}
    add(store, security_group, **(values | {"id": group_id} | changes))
    return group_id


def add_connection(store: Store, connection_id: str = "cvpn-connection-1", **changes: Any) -> str:
    values = {
        "endpoint_id": ENDPOINT_ID,
        "node": "here",
        "status_code": "active",
        "common_name": "laptop",
        "groups": [],
        "client_ip": "10.20.0.2",
        "device_ip": "198.51.100.9",
        "device_port": 50096,
        "transport_protocol": "udp",
        "established_at": NOW - 60,
        "updated_at": NOW - 1,
    }
    add(store, connection, **(values | {"id": connection_id} | changes))
    return connection_id
