"""Endpoints as replies show them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gateway.actions.objects import status_shape
from gateway.actions.tagging import tags_of, tags_shape
from gateway.store.schema import association
from gateway.store.statements import rows_among

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Row

    from gateway.actions.call import Call

__all__ = ["endpoint_name", "endpoint_shapes", "with_name"]


def endpoint_shapes(call: Call, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """The records of these endpoints, in their order."""
    ids = [row.id for row in rows]
    tags, networks = tags_of(call, ids), _networks_of(call, ids)
    return [_shape(call, row, tags[row.id], networks.get(row.id, [])) for row in rows]


def endpoint_name(call: Call, row: Row[Any]) -> str:
    """The DNS name or address that clients connect to: AWS's `dnsName`; empty where none is configured."""
    if call.settings.dns_suffix:
        return f"{row.id}.{call.settings.dns_suffix}"
    return row.settings.get("public_hostname") or call.settings.endpoint_defaults.public_hostname


def with_name(row: Row[Any], tags: Mapping[str, str]) -> Mapping[str, str]:
    """The tags of an endpoint; one of a file goes by its name there, unless it has a tag `Name`."""
    return {"Name": row.name, **tags} if row.name else tags


def _networks_of(call: Call, endpoint_ids: Iterable[str]) -> dict[str, list[str]]:
    """The subnets that are associated with each endpoint."""
    query = (
        select(association.c.endpoint_id, association.c.subnet_id)
        .where(association.c.ended_at.is_(None))
        .order_by(association.c.created_at, association.c.id)
    )
    networks: dict[str, list[str]] = {}
    for row in rows_among(call.connection, query, association.c.endpoint_id, tuple(endpoint_ids)):
        networks.setdefault(row.endpoint_id, []).append(row.subnet_id)
    return networks


def _shape(call: Call, row: Row[Any], tags: Mapping[str, str], subnet_ids: Iterable[str]) -> dict[str, Any]:
    return {
        "ClientVpnEndpointId": row.id,
        "Description": row.description,
        "Status": status_shape(row),
        "CreationTime": f"{datetime.fromtimestamp(row.created_at, UTC):%Y-%m-%dT%H:%M:%S}",
        "DnsName": endpoint_name(call, row),
        "ClientCidrBlock": row.client_cidr_block,
        "DnsServers": list(row.dns_servers),
        "SplitTunnel": row.split_tunnel,
        "VpnProtocol": "openvpn",
        "TransportProtocol": "udp" if "udp" in row.transport_protocols else "tcp",  # the API has room for one
        "VpnPort": row.vpn_port,
        "AssociatedTargetNetworks": [{"NetworkId": subnet_id, "NetworkType": "vpc"} for subnet_id in subnet_ids],
        "ServerCertificateArn": row.server_certificate_arn,
        "AuthenticationOptions": [_authentication_shape(option) for option in row.authentication_options],
        "ConnectionLogOptions": _log_shape(row),
        "Tags": tags_shape(with_name(row, tags)),
        "SecurityGroupIds": list(row.default_security_group_ids),
        "VpcId": row.vpc_id,
        "SelfServicePortalUrl": _portal_url(call, row) if row.self_service_portal else None,
        "ClientConnectOptions": {**row.client_connect_options, "Status": {"Code": "applied"}},
        "SessionTimeoutHours": math.ceil(row.session_timeout_hours),
        "ClientLoginBannerOptions": dict(row.client_login_banner_options),
        "ClientRouteEnforcementOptions": dict(row.client_route_enforcement_options),
        "DisconnectOnSessionTimeout": row.disconnect_on_session_timeout,
        "EndpointIpAddressType": row.endpoint_ip_address_type,
        "TrafficIpAddressType": row.traffic_ip_address_type,
    }


def _authentication_shape(option: Mapping[str, Any]) -> dict[str, Any]:
    """Requests and replies differ in what they call the authority."""
    arn = option["MutualAuthentication"]["ClientRootCertificateChainArn"]
    return {"Type": option["Type"], "MutualAuthentication": {"ClientRootCertificateChain": arn}}


def _log_shape(row: Row[Any]) -> dict[str, Any]:
    """AWS invents a log stream where the caller names none, and so do we."""
    options = {"IncludeAuthorizationPolicyContext": False, **row.connection_log_options}
    if options["Enabled"]:
        options["CloudwatchLogStream"] = options.get("CloudwatchLogStream") or row.id
    return options


def _portal_url(call: Call, row: Row[Any]) -> str:
    """Callers take a URL for the sign that the portal is enabled."""
    host = call.settings.endpoint_defaults.public_hostname or endpoint_name(call, row) or "localhost"
    return f"https://{host}/endpoints/{row.id}"
