"""What a declaration does to people: who gains and loses access to what, and what those who are connected notice.

Owns how rows become what `comparison` compares. Read off what the store asks for: what a host refuses is in no row yet.
So it does not need what gateways build, and `gateway.managed` is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from gateway.actions.declaration.comparison import Comparison
from gateway.config.endpoint_options import EndpointOptions
from gateway.endpoint_spec import endpoint_spec
from gateway.store import schema
from policy import (
    Aspect,
    AuthorizationRule,
    GatewaySpec,
    Route,
    ServerCertificate,
    TargetNetwork,
    compare,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Row

    from gateway.actions.call import Call
    from gateway.actions.declaration.comparison import Difference
    from gateway.actions.declaration.state import Held, State
    from policy import EndpointSpec

__all__ = [
    "AccessChange",
    "AffectedSession",
    "Comparison",
    "Reach",
    "access_changes",
    "affected_sessions",
    "read_reach",
]

CUT_OFF: Final = "is cut off"
_EVERYONE: Final = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Reach:
    """One endpoint, as far as clients notice it."""

    name: str
    spec: EndpointSpec | None
    """None where it does not run: it has no target network."""
    filters: frozenset[tuple[object, ...]]
    """What its security groups let pass."""


@dataclass(frozen=True, slots=True)
class AccessChange:
    """What clients of an endpoint may reach anew, and no longer."""

    endpoint: str
    group: str | None
    """The clients that have this group and no other; None for those without one, and so for everyone."""
    difference: Difference


@dataclass(frozen=True, slots=True)
class AffectedSession:
    """Somebody who is connected, and notices."""

    row: Row[Any]
    endpoint: str
    effects: tuple[str, ...]
    difference: Difference


def read_reach(call: Call, state: State) -> dict[str, Reach]:
    """All endpoints of a state, by id."""
    return {held.row.id: _reach(call, state, name, held) for name, held in state.endpoints.items()}


def access_changes(before: Mapping[str, Reach], after: Mapping[str, Reach]) -> Iterator[AccessChange]:
    """Who gains and loses what. A group is named where it is different for it than for everyone."""
    for endpoint_id, name in _ordered(before, after):
        comparison = Comparison(_spec(before.get(endpoint_id)), _spec(after.get(endpoint_id)))
        everyone = comparison.difference(_EVERYONE)
        if everyone:
            yield AccessChange(name, None, everyone)
        for group in comparison.groups:
            own = comparison.difference({group})
            if own != everyone:
                yield AccessChange(name, group, own)


def affected_sessions(call: Call, before: Mapping[str, Reach], after: Mapping[str, Reach]) -> Iterator[AffectedSession]:
    """Those who are connected and notice, the longest connected first."""
    table = schema.connection
    alive = select(table).where(table.c.ended_at.is_(None), table.c.endpoint_id.in_(list(before)))
    common = {endpoint_id: tuple(_effects(reach, after.get(endpoint_id))) for endpoint_id, reach in before.items()}
    comparisons = {
        endpoint_id: Comparison(reach.spec, _spec(after.get(endpoint_id))) for endpoint_id, reach in before.items()
    }
    for row in call.connection.execute(alive.order_by(table.c.established_at, table.c.id)):
        old, new = before[row.endpoint_id], after.get(row.endpoint_id)
        difference = comparisons[row.endpoint_id].difference(frozenset(row.groups))
        effects = common[row.endpoint_id]
        if _outdates_profile(row.transport_protocol, old, new):
            effects = (*effects, "needs a new profile")
        if _outlasts(call.now - row.established_at, old, new):
            effects = (*effects, "has lasted too long")
        if difference and CUT_OFF not in effects:
            effects = (*effects, "access changes")
        if effects:
            yield AffectedSession(row, old.name, effects, difference)


def _effects(old: Reach, new: Reach | None) -> Iterator[str]:
    """What everybody who is connected to an endpoint notices."""
    if old.spec is None:
        return
    if new is None or new.spec is None:
        yield CUT_OFF
        return
    renamed = replace(new.spec, name=old.spec.name)
    changes = compare(GatewaySpec((old.spec,)), GatewaySpec((renamed,))).changed
    aspects = changes[0].aspects if changes else frozenset()
    if aspects & {Aspect.RESTART, Aspect.PUSHED}:
        yield "reconnects"
    if Aspect.TRUST in aspects:
        yield "is checked again"
    if old.filters != new.filters:
        yield "security groups change"


def _outdates_profile(transport: str, old: Reach, new: Reach | None) -> bool:
    """Whether somebody who is connected would not find the endpoint again with the same profile."""
    if new is None or new.spec is None or old.spec is None:
        return False
    is_elsewhere = new.spec.vpn_port != old.spec.vpn_port or transport not in new.spec.transport_protocol
    return is_elsewhere or new.spec.control_channel != old.spec.control_channel


def _outlasts(age_s: float, old: Reach, new: Reach | None) -> bool:
    """Whether a session is older than sessions may become from now on, and not too old already."""
    if new is None or new.spec is None or old.spec is None:
        return False
    return new.spec.session_timeout_hours <= age_s / 3600 < old.spec.session_timeout_hours


def _spec(reach: Reach | None) -> EndpointSpec | None:
    return reach.spec if reach is not None else None


def _ordered(before: Mapping[str, Reach], after: Mapping[str, Reach]) -> list[tuple[str, str]]:
    """Ids and names of all endpoints, by name."""
    names = {endpoint_id: reach.name for endpoint_id, reach in (*before.items(), *after.items())}
    return sorted(names.items(), key=lambda item: (item[1], item[0]))


# Rows


def _reach(call: Call, state: State, name: str, held: Held) -> Reach:
    filters = frozenset(_filters(call, held))
    if not held.networks:
        return Reach(name, None, filters)
    declared = held.declared
    options = EndpointOptions.readable(held.row.settings)
    spec = endpoint_spec(name, held.row._asdict(), options, call.settings.endpoint_defaults)
    authentication = replace(
        spec.authentication,
        client_root_certificate_chain=_chain(call, declared.authentication.client_root_certificate_chain),
        certificate_revocation_list=(declared.authentication.certificate_revocation_list or "").encode() or None,
    )
    automatic = (Route(IPv4Network(destination), target) for destination, target in sorted(held.automatic))
    routes = (Route(route.destination, route.target) for route in declared.route)
    return Reach(
        name,
        replace(
            spec,
            server_certificate=ServerCertificate(_chain(call, declared.server_certificate), b""),
            authentication=authentication,
            target_networks=tuple(_targets(state, held)),
            routes=(*automatic, *routes),
            authorization_rules=tuple(
                AuthorizationRule(rule.destination, rule.group) for rule in declared.authorization_rule
            ),
        ),
        filters,
    )


def _targets(state: State, held: Held) -> Iterator[TargetNetwork]:
    for name in held.networks:
        row = state.networks.get(name)
        if row is not None:
            next_hop = IPv4Address(row.next_hop) if row.next_hop else None
            yield TargetNetwork(name, row.interface, IPv4Network(row.cidr), row.nat, next_hop)


def _chain(call: Call, arn: str) -> bytes:
    query = select(schema.certificate.c.chain).where(schema.certificate.c.arn == arn)
    return str(call.connection.scalar(query) or "").encode()


def _filters(call: Call, held: Held) -> Iterator[tuple[object, ...]]:
    """Each network with each rule that filters it."""
    table = schema.security_group_rule.c
    columns = (table.is_egress, table.protocol, table.from_port, table.to_port, table.cidr, table.referenced_group_id)
    for name, network in held.networks.items():
        query = select(*columns).where(table.group_id.in_(network.group_ids))
        yield from ((name, *row) for row in call.connection.execute(query))
