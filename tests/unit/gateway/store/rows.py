"""Rows for tests: whole ones, of which a test says only what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from gateway.store import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store import Store

__all__ = ["TAG", "count_tags", "put_association", "put_connection", "put_endpoint", "put_tags", "put_usage"]

TAG = {"resource_id": "r", "resource_type": "t", "key": "k", "value": "v"}


def put_endpoint(connection: Connection, endpoint_id: str, **members: Any) -> None:
    row = {
        "id": endpoint_id,
        "origin": "api",
        "status_code": "available",
        "created_at": 0,
        "client_cidr_block": f"10.{endpoint_id}.0.0/16",
        "server_certificate_arn": "arn",
        "authentication_options": [],
        "transport_protocols": ["udp"],
        "vpn_port": 443,
        "dns_servers": [],
        "split_tunnel": True,
        "session_timeout_hours": 24,
        "disconnect_on_session_timeout": True,
        "default_security_group_ids": [],
        "connection_log_options": {},
        "client_connect_options": {},
        "client_login_banner_options": {},
        "client_route_enforcement_options": {},
        "self_service_portal": False,
        "endpoint_ip_address_type": "ipv4",
        "traffic_ip_address_type": "ipv4",
        "settings": {},
    }
    connection.execute(insert(schema.endpoint).values(row | members))


def put_association(connection: Connection, association_id: str, endpoint_id: str, **members: Any) -> None:
    row = {
        "id": association_id,
        "endpoint_id": endpoint_id,
        "subnet_id": association_id,
        "vpc_id": "vpc",
        "zone": association_id,
        "status_code": "associated",
        "created_at": 0,
    }
    connection.execute(insert(schema.association).values(row | members))


def put_connection(connection: Connection, connection_id: str, endpoint_id: str, **members: Any) -> None:
    row = {
        "id": connection_id,
        "endpoint_id": endpoint_id,
        "node": "node",
        "status_code": "active",
        "common_name": "name",
        "groups": [],
        "client_ip": "10.0.0.2",
        "device_ip": "192.0.2.1",
        "device_port": 1194,
        "transport_protocol": "udp",
        "established_at": 0,
        "updated_at": 0,
    }
    connection.execute(insert(schema.connection).values(row | members))


def put_usage(connection: Connection, usage_id: str, **members: Any) -> None:
    row = {"kind": "connection", "id": usage_id, "endpoint_id": "1", "groups": [], "started_at": 0, "seen_at": 0}
    connection.execute(insert(schema.usage).values(row | members))


def put_tags(store: Store, *rows: dict[str, str], pragma: str = "") -> None:
    """Write in a transaction of its own: one tag, unless others are given."""
    with store.write() as connection:
        if pragma:
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.execute(insert(schema.tag), rows or (TAG,))


def count_tags(store: Store) -> int:
    with store.read() as connection:
        return len(connection.execute(select(schema.tag)).all())
