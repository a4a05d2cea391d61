"""Whether the values of an endpoint can be: by themselves, beside other endpoints, and among the hosts' networks.

What is possible `policy` says, the same for the API as for a configuration file; the sentences are its own.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from gateway.actions.call import ActionError, Call
from gateway.actions.objects import is_visible
from gateway.store.schema import endpoint, network, route
from policy import (
    LOCAL,
    CertificateAuthentication,
    ControlChannel,
    ControlChannelProtection,
    EndpointSpec,
    ServerCertificate,
    Severity,
    is_overlap,
    validate_endpoint,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Row

    from policy import Problem

__all__ = ["check_possible"]

_MEMBERS: Final = {
    "client_cidr_block": "ClientCidrBlock",
    "vpn_port": "VpnPort",
    "dns_servers": "DnsServers",
    "session_timeout_hours": "SessionTimeoutHours",
}
"""What `policy` looks at here, and what the API calls it."""
_SHARED: Final = frozenset({"client_cidr_block", "vpn_port"})
"""What two endpoints cannot both have."""


def check_possible(call: Call, endpoint_id: str, values: Mapping[str, Any], changed: Collection[str]) -> None:
    """Raise `InvalidParameterValue` where an endpoint with these values cannot be.

    Only what was `changed` is held against it: an endpoint that is there may be changed although something else of it
    has become impossible since.
    """
    spec = _spec(endpoint_id, values, call)
    others = _others(call, endpoint_id) if _SHARED.intersection(changed) else ()
    sentences = [*_sentences(validate_endpoint(spec, others), changed)]
    if "client_cidr_block" in changed:
        sentences += _among_networks(call, spec.client_cidr_block)
    if sentences:
        raise ActionError("InvalidParameterValue", " ".join(sentences))


def _sentences(problems: Iterable[Problem], changed: Collection[str]) -> Iterator[str]:
    for problem in problems:
        key = problem.key_path.removeprefix("endpoint.").partition("[")[0]
        if problem.severity is Severity.ERROR and key in changed:
            yield f"{_MEMBERS[key]}: {problem.text}"


def _others(call: Call, endpoint_id: str) -> Sequence[EndpointSpec]:
    rows = call.connection.execute(
        select(endpoint).where(endpoint.c.id != endpoint_id, endpoint.c.ended_at.is_(None)).order_by(endpoint.c.id)
    )
    return [_spec(_label(call, row), row._asdict(), call) for row in rows]


def _label(call: Call, other: Row[Any]) -> str:
    """How a sentence names another endpoint: not at all, if the caller may not know of it."""
    return other.name or other.id if is_visible(call, other.id) else "another one"


def _spec(name: str, values: Mapping[str, Any], call: Call) -> EndpointSpec:
    """As much of a spec as can contradict something."""
    return EndpointSpec(
        name=name,
        client_cidr_block=IPv4Network(values["client_cidr_block"]),
        server_certificate=ServerCertificate(b"", b""),
        authentication=CertificateAuthentication(b""),
        control_channel=ControlChannel((ControlChannelProtection.NONE,)),
        listen=ip_address(values["settings"].get("listen") or call.settings.endpoint_listen),
        transport_protocol=tuple(values["transport_protocols"]),
        vpn_port=values["vpn_port"],
        dns_servers=tuple(map(IPv4Address, values["dns_servers"])),
        session_timeout_hours=values["session_timeout_hours"],
    )


def _among_networks(call: Call, client_range: IPv4Network) -> Iterator[str]:
    """Ways that would lead into the client range, and away from the clients."""
    for row in call.connection.execute(select(network.c.subnet_id, network.c.name, network.c.cidr)):
        if is_overlap(IPv4Network(row.cidr), client_range):
            yield (
                f"ClientCidrBlock: {client_range} overlaps {row.cidr} of the subnet {row.subnet_id} ({row.name}). "
                "Choose a range that the networks do not use."
            )
    destinations = call.connection.scalars(
        select(route.c.destination_cidr)
        .where(route.c.subnet_id != LOCAL, route.c.origin == "add-route")
        .distinct()
        .order_by(route.c.destination_cidr)
    )
    for destination in destinations:
        if is_overlap(IPv4Network(destination), client_range):
            yield (
                f"ClientCidrBlock: {client_range} overlaps {destination}, where a route leads to a target network. "
                "Choose a range that routes do not use."
            )
