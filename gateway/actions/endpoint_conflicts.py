"""Whether the values of an endpoint can be: by themselves, beside other endpoints, and among the hosts' networks.

What is possible `policy` says, the same for the API as for a configuration file; the sentences are its own.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from gateway.actions.call import ActionError, Call
from gateway.actions.objects import is_visible
from gateway.config.endpoint_options import EndpointOptions
from gateway.endpoint_spec import endpoint_spec
from gateway.store.schema import endpoint, network, route
from policy import (
    LOCAL,
    ControlChannel,
    ControlChannelProtection,
    Severity,
    destination_obstacles,
    is_overlap,
    validate_endpoint,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Row

    from policy import EndpointSpec, Problem

__all__ = ["check_possible"]

_MEMBERS: Final = {
    "client_cidr_block": "ClientCidrBlock",
    "transport_protocol": "TransportProtocol",
    "vpn_port": "VpnPort",
    "dns_servers": "DnsServers",
    "session_timeout_hours": "SessionTimeoutHours",
}
"""What `policy` looks at here, and what the API calls it; for the rest it has no word."""
_COLUMNS: Final = {
    "client_cidr_block": frozenset({"client_cidr_block"}),
    "transport_protocol": frozenset({"transport_protocols"}),
    "vpn_port": frozenset({"vpn_port", "transport_protocols", "settings"}),
    "dns_servers": frozenset({"dns_servers"}),
    "session_timeout_hours": frozenset({"session_timeout_hours"}),
}
"""Which columns can be at fault for a key; for the rest it is `settings`."""
_SETTINGS: Final = frozenset({"settings"})
_SHARED: Final = _COLUMNS["client_cidr_block"] | _COLUMNS["vpn_port"]
"""What two endpoints cannot both have depends on these."""


def check_possible(
    call: Call,
    endpoint_id: str,
    values: Mapping[str, Any],
    changed: Collection[str],
    *,
    moving: Collection[str] = (),
) -> None:
    """Raise `InvalidParameterValue` where an endpoint with these values cannot be.

    Only what was `changed` is held against it: an endpoint that is there may be changed although something else of it
    has become impossible since. Endpoints that are being deleted are in nobody's way, and neither are those that are
    `moving`: their own values are to change in the same transaction, and be checked against these.
    """
    spec = _spec(endpoint_id, values, call)
    others = _others(call, {endpoint_id, *moving}) if _SHARED.intersection(changed) else ()
    sentences = [*_sentences(validate_endpoint(spec, others), changed)]
    if "client_cidr_block" in changed:
        sentences += _among_networks(call, spec.client_cidr_block)
        sentences += _local_routes(call, endpoint_id, spec.client_cidr_block)
    if sentences:
        raise ActionError("InvalidParameterValue", " ".join(sentences))


def _sentences(problems: Iterable[Problem], changed: Collection[str]) -> Iterator[str]:
    for problem in problems:
        path = problem.key_path.removeprefix("endpoint.")
        key = path.partition("[")[0]
        if problem.severity is Severity.ERROR and _COLUMNS.get(key, _SETTINGS).intersection(changed):
            yield f"{_MEMBERS.get(key, path)}: {problem.text}"


def _others(call: Call, besides: Collection[str]) -> Sequence[EndpointSpec]:
    rows = call.connection.execute(
        select(endpoint)
        .where(endpoint.c.id.not_in(besides), endpoint.c.ended_at.is_(None), endpoint.c.status_code != "deleting")
        .order_by(endpoint.c.id)
    )
    return [_spec(_label(call, row), row._asdict(), call) for row in rows]


def _label(call: Call, other: Row[Any]) -> str:
    """How a sentence names another endpoint: not at all, if the caller may not know of it."""
    return other.name or other.id if is_visible(call, other.id) else "another one"


def _spec(name: str, values: Mapping[str, Any], call: Call) -> EndpointSpec:
    """As much of a spec as can contradict something: keys of the control channel are made by Portway."""
    options = EndpointOptions.readable(values["settings"])
    spec = endpoint_spec(name, values, options, call.settings.endpoint_defaults)
    return replace(spec, control_channel=ControlChannel((ControlChannelProtection.NONE,)))


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
        .where(route.c.subnet_id != LOCAL, route.c.origin == "add-route", route.c.status_code != "deleting")
        .distinct()
        .order_by(route.c.destination_cidr)
    )
    for destination in destinations:
        if is_overlap(IPv4Network(destination), client_range):
            yield (
                f"ClientCidrBlock: {client_range} overlaps {destination}, where a route leads to a target network. "
                "Choose a range that routes do not use."
            )


def _local_routes(call: Call, endpoint_id: str, client_range: IPv4Network) -> Iterator[str]:
    """Routes from client to client that the endpoint would have outside of its range."""
    destinations = call.connection.scalars(
        select(route.c.destination_cidr)
        .where(route.c.endpoint_id == endpoint_id, route.c.subnet_id == LOCAL, route.c.status_code != "deleting")
        .order_by(route.c.destination_cidr)
    )
    for destination in destinations:
        for obstacle in destination_obstacles(IPv4Network(destination), LOCAL, client_range):
            yield f"ClientCidrBlock: {obstacle}"
