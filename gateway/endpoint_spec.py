"""The spec of an endpoint made at run time, as far as its row in the store tells it.

The one mapping of the columns, for everybody who reads them: gateways, which run what they make of it, and the API,
which judges, compares and exports it. What an endpoint has elsewhere (certificates, keys, networks, routes, rules), and
what its settings are where they cannot be read, is for the caller.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from policy import (
    DEFAULT_LOG_GROUP,
    CertificateAuthentication,
    ControlChannel,
    ControlChannelProtection,
    DataChannel,
    EndpointSpec,
    HandshakeLimits,
    Keepalive,
    LogDestination,
    ServerCertificate,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.actions import EndpointDefaults
    from gateway.config.endpoint_options import EndpointOptions

__all__ = ["endpoint_spec"]


def endpoint_spec(
    name: str, columns: Mapping[str, Any], options: EndpointOptions, defaults: EndpointDefaults
) -> EndpointSpec:
    """The spec of an endpoint with these columns; `options` are what its column `settings` says.

    Raises `ValueError` for a column that is not what the API writes.
    """
    return EndpointSpec(
        name=name,
        client_cidr_block=IPv4Network(columns["client_cidr_block"]),
        server_certificate=ServerCertificate(b"", b""),
        authentication=CertificateAuthentication(b"", groups_from=options.groups_from or defaults.groups_from),
        control_channel=ControlChannel(
            (ControlChannelProtection(options.control_channel or defaults.control_channel),)
        ),
        listen=options.listen or defaults.listen,
        transport_protocol=tuple(columns["transport_protocols"]),
        vpn_port=columns["vpn_port"],
        public_hostname=options.public_hostname or defaults.public_hostname,
        description=columns["description"],
        split_tunnel=columns["split_tunnel"],
        dns_servers=tuple(map(IPv4Address, columns["dns_servers"])),
        search_domains=options.search_domains,
        tls_version_min=options.tls_version_min,
        session_timeout_hours=columns["session_timeout_hours"],
        disconnect_on_session_timeout=columns["disconnect_on_session_timeout"],
        login_banner=columns["client_login_banner_options"].get("BannerText", ""),
        client_route_enforcement=bool(columns["client_route_enforcement_options"].get("Enforced")),
        connection_log=_log_destination(columns["connection_log_options"]),
        max_clients=options.max_clients,
        sessions_per_client=(
            defaults.sessions_per_client if options.sessions_per_client is None else options.sessions_per_client
        ),
        clients_reachable=options.clients_reachable,
        data_channel=DataChannel(**dict(options.data_channel)),
        keepalive=Keepalive(**dict(options.keepalive)),
        handshake=HandshakeLimits(**dict(options.handshake)),
    )


def _log_destination(options: Mapping[str, Any]) -> LogDestination | None:
    if not options.get("Enabled"):
        return None
    return LogDestination(
        options.get("CloudwatchLogGroup") or DEFAULT_LOG_GROUP, options.get("CloudwatchLogStream") or ""
    )
