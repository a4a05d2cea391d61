"""What would have to change so that a packet passes.

A remedy is the spec and the groups as they would be after a small change. It is offered only if the engine that
decides, asked about that spec and those groups, lets the packet pass: nothing here can promise too much.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from policy.access import decide, deciding_route, deciding_rules, target_of, unroutable
from policy.explain_groups import examine_groups
from policy.security_groups import ALL_PROTOCOLS, ANY, PROTOCOL_NUMBERS, describe_traffic
from policy.spec import LOCAL, AuthorizationRule, Route, SecurityGroup, SecurityGroupRule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from collections.abc import Set as AbstractSet
    from ipaddress import IPv4Address

    from policy.explain_groups import Packet, SecurityFinding
    from policy.spec import EndpointSpec

__all__ = ["Remedy", "find_remedies"]

_NEW_TARGET = "(new)"
"""Stands for a target network that the administrator has yet to name."""

_NAMES_SHOWN = 5
"""Groups that a sentence lists before it only counts."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change after which the packet passes."""

    text: str
    """The change as a clause in the imperative, without capital and full stop."""
    spec: EndpointSpec = field(repr=False)
    """The endpoint after the change."""
    groups: frozenset[str]
    """The client's groups after the change."""

    def then(self, text: str, *, spec: EndpointSpec | None = None, groups: frozenset[str] | None = None) -> Remedy:
        """This change and a further one."""
        return Remedy(f"{self.text}, and {text}" if self.text else text, spec or self.spec, groups or self.groups)


def find_remedies(spec: EndpointSpec, groups: AbstractSet[str], packet: Packet) -> tuple[Remedy, ...]:
    """The changes that would let a packet pass, the mildest first; none where it passes or where nothing would."""
    unchanged = Remedy("", spec, frozenset(groups))
    if unroutable(packet.destination) is not None or _passes(unchanged, packet):
        return ()
    return tuple(
        remedy
        for routed in _with_route(unchanged, packet.destination)
        for authorised in _with_rule(routed, packet.destination)
        for remedy in _with_group_rule(authorised, packet)
        if _passes(remedy, packet)
    )


def _passes(after: Remedy, packet: Packet) -> bool:
    if not decide(after.spec, after.groups, packet.destination).allowed:
        return False
    finding = _finding(after, packet)
    return finding is None or finding.allowed


def _finding(after: Remedy, packet: Packet) -> SecurityFinding | None:
    """What the security groups say, after the change."""
    return examine_groups(target_of(after.spec, deciding_route(after.spec, packet.destination)), packet)


def _with_route(before: Remedy, destination: IPv4Address) -> Iterator[Remedy]:
    """The ways to give a destination a route, or the change as it is where there is one."""
    if deciding_route(before.spec, destination) is not None:
        yield before
        return
    for route in _routes_to(before.spec, destination):
        if route.target == _NEW_TARGET:
            text = f"declare a target network that leads to {destination} and add a route to it"
        else:
            text = f'add a route to {route.destination} with the target "{route.target}"'
        yield before.then(text, spec=replace(before.spec, routes=(*before.spec.routes, route)))


def _routes_to(spec: EndpointSpec, destination: IPv4Address) -> list[Route]:
    """Routes that would do: to the network that the address is in, else to it alone by a next hop."""
    if destination in spec.client_cidr_block:
        return [Route(spec.client_cidr_block, LOCAL)]
    alone = IPv4Network(destination)
    on_link = [
        Route(target.cidr if target.cidr.prefixlen else alone, target.name)
        for target in spec.target_networks
        if destination in target.cidr
    ]
    by_next_hop = [Route(alone, target.name) for target in spec.target_networks if target.gateway is not None]
    return on_link or by_next_hop or [Route(alone, _NEW_TARGET)]


def _with_rule(before: Remedy, destination: IPv4Address) -> Iterator[Remedy]:
    """The ways to authorise a destination that has a route, or the change as it is where that was all."""
    if decide(before.spec, before.groups, destination).allowed:
        yield before
        return
    yield from _by_membership(before, destination)
    yield _by_new_rule(before, destination)
    yield from _by_removal(before, destination)


def _by_membership(before: Remedy, destination: IPv4Address) -> Iterator[Remedy]:
    """The client joins a group that the deciding rules name."""
    names = sorted({rule.group for rule in deciding_rules(before.spec, destination) if rule.group is not None})
    if names:
        group = "the group" if len(names) == 1 else "one of the groups"
        yield before.then(f"give the client {group} {_listed(names)}", groups=before.groups | {names[0]})


def _by_new_rule(before: Remedy, destination: IPv4Address) -> Remedy:
    """A rule at the prefix that decides already, so that nobody else loses by it; else for the whole route."""
    rules = deciding_rules(before.spec, destination)
    prefix = rules[0].destination if rules else _prefix_for_first_rule(before.spec, destination)
    names = sorted(before.groups)
    rule = AuthorizationRule(prefix, names[0] if names else None)
    if not names:
        grantee = "everyone"
    elif len(names) == 1:
        grantee = f"the group {_listed(names)}"
    else:
        grantee = f"one of the client's groups {_listed(names)}"
    changed = replace(before.spec, authorization_rules=(*before.spec.authorization_rules, rule))
    return before.then(f"add an authorization rule for {prefix} and {grantee}", spec=changed)


def _prefix_for_first_rule(spec: EndpointSpec, destination: IPv4Address) -> IPv4Network:
    """What the route covers, unless that is the whole internet."""
    route = deciding_route(spec, destination)
    return route.destination if route is not None and route.destination.prefixlen else IPv4Network(destination)


def _by_removal(before: Remedy, destination: IPv4Address) -> Iterator[Remedy]:
    """The narrow rules go, one prefix after the other, until a wider one that lets the client pass decides."""
    spec = before.spec
    removed: list[str] = []
    while (rules := deciding_rules(spec, destination)) and not decide(spec, before.groups, destination).allowed:
        removed.append(str(rules[0].destination))
        spec = replace(spec, authorization_rules=tuple(r for r in spec.authorization_rules if r not in rules))
    if removed and rules:
        text = f"remove the rules for {' and '.join(removed)}, so that {rules[0].destination} decides"
        yield before.then(text, spec=spec)


def _with_group_rule(before: Remedy, packet: Packet) -> Iterator[Remedy]:
    """A rule in a security group that lets the packet pass, or the change as it is where none is missing."""
    finding = _finding(before, packet)
    if finding is None or finding.allowed:
        yield before
        return
    rule = _group_rule(packet)
    what = f"{describe_traffic(rule)} to {rule.destination}"
    if not finding.groups:
        text = f'give the target network "{finding.target.name}" a security group that lets {what} pass'
        changed = SecurityGroup("", "(new)", egress=(rule,))
    else:
        which = "the security group" if len(finding.groups) == 1 else "one of the security groups"
        text = f"let {which} {_listed([group.name for group in finding.groups])} allow {what} by an egress rule"
        changed = replace(finding.groups[0], egress=(*finding.groups[0].egress, rule))
    target = replace(finding.target, security_groups=(changed, *finding.groups[1:]))
    targets = tuple(target if each == finding.target else each for each in before.spec.target_networks)
    yield before.then(text, spec=replace(before.spec, target_networks=targets))


def _group_rule(packet: Packet) -> SecurityGroupRule:
    """The narrowest rule that lets a packet pass; with a port and no protocol, TCP is the likelier one."""
    destination = IPv4Network(packet.destination)
    protocol = packet.protocol or (ALL_PROTOCOLS if packet.port is None else "tcp")
    if packet.port is None or protocol not in PROTOCOL_NUMBERS:
        return SecurityGroupRule("", protocol, ANY, ANY, destination)
    return SecurityGroupRule("", protocol, packet.port, ANY if protocol == "icmp" else packet.port, destination)


def _listed(names: Collection[str]) -> str:
    """Names for a sentence: the first few, and how many more there are."""
    shown = ", ".join(f'"{name}"' for name in list(names)[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
