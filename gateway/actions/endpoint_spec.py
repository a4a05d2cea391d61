"""The spec of an endpoint as far as its row tells it: enough for `policy` to judge and compare it.

It is not what gateways run: those know their host, and open secrets. So a target network, a certificate or a key is in
it only where a caller puts it there.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway.config.endpoint_options import EndpointOptions
from policy import (
    CertificateAuthentication,
    ControlChannel,
    ControlChannelProtection,
    DataChannel,
    EndpointSpec,
    HandshakeLimits,
    Keepalive,
    ServerCertificate,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.actions.settings import ServiceSettings

__all__ = ["endpoint_spec"]


def endpoint_spec(name: str, values: Mapping[str, Any], service: ServiceSettings) -> EndpointSpec:
    """The spec of an endpoint with these columns, without what it owns in other tables."""
    options = _options(values["settings"])
    protection = ControlChannelProtection(options.control_channel or service.control_channel)
    return EndpointSpec(
        name=name,
        client_cidr_block=IPv4Network(values["client_cidr_block"]),
        server_certificate=ServerCertificate(b"", b""),
        authentication=CertificateAuthentication(b"", groups_from=options.groups_from),
        control_channel=ControlChannel((protection,)),
        listen=options.listen or ip_address(service.endpoint_listen),
        transport_protocol=tuple(values["transport_protocols"]),
        vpn_port=values["vpn_port"],
        public_hostname=options.public_hostname or service.public_hostname,
        split_tunnel=values["split_tunnel"],
        dns_servers=tuple(map(IPv4Address, values["dns_servers"])),
        search_domains=options.search_domains,
        tls_version_min=options.tls_version_min,
        session_timeout_hours=values["session_timeout_hours"],
        max_clients=options.max_clients,
        sessions_per_client=options.sessions_per_client or 0,
        clients_reachable=options.clients_reachable,
        data_channel=DataChannel(**dict(options.data_channel)),
        keepalive=Keepalive(**dict(options.keepalive)),
        handshake=HandshakeLimits(**dict(options.handshake)),
    )


def _options(settings: Mapping[str, Any]) -> EndpointOptions:
    """Settings that this release cannot read count as none; gateways say so in the endpoint's status."""
    try:
        return EndpointOptions.model_validate(settings)
    except ValidationError:
        return EndpointOptions()
