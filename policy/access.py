"""Who may reach what: the meaning of routes and rules, and their compiled form.

The meaning is AWS Client VPN's. A packet needs a route and an authorization rule, and in both the longest prefix
that contains the destination decides alone:

    route   none → NO_ROUTE
    rule    the rules at exactly the longest prefix: one is for everyone or for one of the client's groups → authorised,
            otherwise NO_RULE. There is no fall-through: a narrow rule for one group takes the range from all others.

Inside the client range only `local` routes count, and outside it only the others: so a default route to the internet
does not let clients reach each other. Ranges that no router forwards have no route, whatever the table says.
Groups are compared exactly, case included.

`decide` says this in the plainest way. `compile_access` says the same for all addresses at once, as the data plane
needs it. That both agree is a property test; `policy.explain` uses the former's pieces.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from policy.prefix_sweep import overlay, sweep
from policy.spec import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from policy.spec import AuthorizationRule, EndpointSpec, Route, TargetNetwork

__all__ = [
    "UNROUTABLE",
    "AccessTable",
    "Verdict",
    "compile_access",
    "decide",
    "deciding_route",
    "deciding_rules",
    "grants",
    "target_of",
    "unroutable",
]

UNROUTABLE = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("255.255.255.255/32"),
)
"""Unspecified, loopback, multicast and broadcast (RFC 6890): no destinations of a tunnel of unicast packets."""

_DEAD = sweep(((network, True) for network in UNROUTABLE), default=False)


class Verdict(enum.IntEnum):
    """What becomes of a packet from a client, by its destination; the data plane counts in the same numbers."""

    NO_ROUTE = 0
    """No route of the endpoint covers the destination: dropped."""
    NO_RULE = 1
    """There is a route, but no authorization rule for this client: dropped."""
    FORWARD = 2
    """Authorised: on to the target network."""
    LOCAL = 3
    """Authorised and inside the client range: on to the client that has the address."""

    @property
    def allowed(self) -> bool:
        """Whether the packet goes on."""
        return self >= Verdict.FORWARD


@dataclass(frozen=True, slots=True)
class AccessTable:
    """What one set of groups may reach, as intervals over all addresses: a verdict is one bisection away.

    Interval i runs from `starts[i]` to just before `starts[i + 1]` (the last one to 255.255.255.255). Neighbours
    differ in their verdict, so that equal rights make equal tables.
    """

    starts: tuple[bytes, ...]
    """Addresses as 4 octets in network order, ascending; the first is 0.0.0.0."""
    verdicts: bytes
    """One `Verdict` for each interval."""

    def verdict(self, destination: bytes) -> Verdict:
        """The verdict for an address of 4 octets in network order."""
        return Verdict(self.verdicts[bisect_right(self.starts, destination) - 1])


def decide(spec: EndpointSpec, groups: AbstractSet[str], destination: IPv4Address) -> Verdict:
    """The verdict for one address: the plain statement of the rules, for questions and as the tests' reference."""
    route = deciding_route(spec, destination)
    if route is None:
        return Verdict.NO_ROUTE
    if not any(grants(rule, groups) for rule in deciding_rules(spec, destination)):
        return Verdict.NO_RULE
    return Verdict.LOCAL if route.target == LOCAL else Verdict.FORWARD


def deciding_route(spec: EndpointSpec, destination: IPv4Address) -> Route | None:
    """The route with the longest prefix among those that count for an address; of equal ones the first."""
    if unroutable(destination) is not None:
        return None
    inside = destination in spec.client_cidr_block
    candidates = [
        route for route in spec.routes if destination in route.destination and (route.target == LOCAL) == inside
    ]
    return max(candidates, key=lambda route: route.destination.prefixlen, default=None)


def target_of(spec: EndpointSpec, route: Route | None) -> TargetNetwork | None:
    """The target network that a route leads to; None for a `local` one, and for no route."""
    if route is None:
        return None
    return next((target for target in spec.target_networks if target.name == route.target), None)


def deciding_rules(spec: EndpointSpec, destination: IPv4Address) -> tuple[AuthorizationRule, ...]:
    """All rules at the longest prefix that contains an address; they decide, and no others."""
    candidates = [rule for rule in spec.authorization_rules if destination in rule.destination]
    longest = max((rule.destination.prefixlen for rule in candidates), default=None)
    return tuple(rule for rule in candidates if rule.destination.prefixlen == longest)


def grants(rule: AuthorizationRule, groups: AbstractSet[str]) -> bool:
    """Whether a rule, where it decides, lets a client with these groups pass."""
    return rule.group is None or rule.group in groups


def unroutable(destination: IPv4Address) -> IPv4Network | None:
    """The range of `UNROUTABLE` that an address is in."""
    return next((network for network in UNROUTABLE if destination in network), None)


def compile_access(spec: EndpointSpec, groups: AbstractSet[str]) -> AccessTable:
    """Compile the endpoint's routes and rules for one set of groups; sorting is all that it costs."""
    inside = sweep([(spec.client_cidr_block, True)], default=False)
    local = sweep(((route.destination, True) for route in spec.routes if route.target == LOCAL), default=False)
    target = sweep(((route.destination, True) for route in spec.routes if route.target != LOCAL), default=False)
    authorised = sweep(_authorised(spec.authorization_rules, groups), default=False)
    return _table(
        (
            start,
            _verdict(routed=not is_dead and (by_local if is_inside else by_target), authorised=may, inside=is_inside),
        )
        for start, (is_dead, is_inside, by_local, by_target, may) in overlay(_DEAD, inside, local, target, authorised)
    )


def _authorised(rules: Iterable[AuthorizationRule], groups: AbstractSet[str]) -> Iterable[tuple[IPv4Network, bool]]:
    """What the rules at each prefix say together."""
    verdicts: dict[IPv4Network, bool] = {}
    for rule in rules:
        verdicts[rule.destination] = verdicts.get(rule.destination, False) or grants(rule, groups)
    return verdicts.items()


def _verdict(*, routed: bool, authorised: bool, inside: bool) -> Verdict:
    if not routed:
        return Verdict.NO_ROUTE
    if not authorised:
        return Verdict.NO_RULE
    return Verdict.LOCAL if inside else Verdict.FORWARD


def _table(intervals: Iterable[tuple[int, Verdict]]) -> AccessTable:
    """Pack intervals, neighbours with the same verdict into one."""
    starts: list[bytes] = []
    verdicts = bytearray()
    for start, verdict in intervals:
        if not verdicts or verdicts[-1] != verdict:
            starts.append(start.to_bytes(4, "big"))
            verdicts.append(verdict)
    return AccessTable(starts=tuple(starts), verdicts=bytes(verdicts))
