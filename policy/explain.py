"""Why a packet passes or not: the engine that decides, telling what it saw.

The verdict, the route and the rules come from the same functions that `policy.access.decide` is made of, so that an
explanation cannot contradict what the data plane does. `policy.explain_text` turns one into text for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policy.access import Verdict, decide, deciding_route, deciding_rules, grants, target_of, unroutable
from policy.explain_groups import Packet, SecurityFinding, examine_groups
from policy.remedies import Remedy, find_remedies

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from ipaddress import IPv4Address, IPv4Network

    from policy.spec import AuthorizationRule, EndpointSpec, Route, TargetNetwork

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict with everything that led to it."""

    endpoint: str
    client_cidr_block: IPv4Network
    groups: frozenset[str]
    destination: IPv4Address
    source: IPv4Address | None
    port: int | None
    protocol: str | None
    verdict: Verdict
    unroutable: IPv4Network | None
    """The range around the destination that no router forwards; None for a proper destination."""
    route: Route | None
    """The route with the longest prefix."""
    target: TargetNetwork | None
    """Where the route leads; None without a route, and for a `local` one."""
    prefix: IPv4Network | None
    """The longest prefix among the rules around the destination: only the rules there count."""
    rules: tuple[AuthorizationRule, ...]
    """All rules at `prefix`."""
    granted_by: tuple[AuthorizationRule, ...]
    """Those of `rules` that let this client pass: for everyone, or for one of its groups."""
    shadowed: tuple[AuthorizationRule, ...]
    """Rules with a wider prefix around the destination, the longest first; they do not count."""
    security: SecurityFinding | None
    """What security groups say of it; None where none filter, or where it does not come that far."""
    remedies: tuple[Remedy, ...]
    """What would let the packet pass; empty where it passes, or where nothing would."""

    @property
    def is_spoofed(self) -> bool:
        """Whether the source is none that a client of this endpoint can have: dropped before any rule."""
        return self.source is not None and self.source not in self.client_cidr_block

    @property
    def allowed(self) -> bool:
        """Whether the packet goes on; where port or protocol were left open, whether some such packet does."""
        filtered = self.security is not None and not self.security.allowed
        return self.verdict.allowed and not self.is_spoofed and not filtered


def explain(
    spec: EndpointSpec,
    groups: AbstractSet[str],
    destination: IPv4Address,
    port: int | None = None,
    protocol: str | None = None,
    *,
    source: IPv4Address | None = None,
) -> Explanation:
    """Decide about a packet and say why.

    `port` and `protocol` (a name such as `tcp`) matter to security groups; rules hold for all of them. `source` is the
    client's address inside the tunnel, where one is known.
    """
    route = deciding_route(spec, destination)
    target = target_of(spec, route)
    verdict = decide(spec, groups, destination)
    packet = Packet(destination, port, protocol)
    rules = deciding_rules(spec, destination)
    return Explanation(
        endpoint=spec.name,
        client_cidr_block=spec.client_cidr_block,
        groups=frozenset(groups),
        destination=destination,
        source=source,
        port=port,
        protocol=protocol,
        verdict=verdict,
        unroutable=unroutable(destination),
        route=route,
        target=target,
        prefix=rules[0].destination if rules else None,
        rules=rules,
        granted_by=tuple(rule for rule in rules if grants(rule, groups)),
        shadowed=_shadowed(spec, destination),
        security=examine_groups(target, packet) if verdict.allowed else None,
        remedies=find_remedies(spec, groups, packet),
    )


def _shadowed(spec: EndpointSpec, destination: IPv4Address) -> tuple[AuthorizationRule, ...]:
    around = [rule for rule in spec.authorization_rules if destination in rule.destination]
    around.sort(key=lambda rule: -rule.destination.prefixlen)
    return tuple(rule for rule in around if rule.destination.prefixlen < around[0].destination.prefixlen)
