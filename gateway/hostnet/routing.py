"""Where packets out of a tunnel go: a routing table and three rules per endpoint, beside the host's own.

The table's number is `TABLE_BASE` plus the ifindex of the TUN device. The kernel never gives an ifindex twice
before it has counted through 2³¹ of them, so a table belongs to one run of one endpoint, and what a killed daemon
leaves behind is known by its number alone. The rules, in the order in which the kernel reads them:

    0    (the kernel's)   lookup local    the host's own addresses; the access table decides about them
    90   iif TUN          lookup TABLE    from clients to the endpoint's routes
    91   iif TUN          unreachable     ... and nowhere else: the host's main table is never asked
    92   to CLIENTS       lookup TABLE    to clients, wherever the packet comes from

Strict `rp_filter` needs nothing more, and no sysctl has to be loosened: to check a packet that it forwards, the kernel
looks up the way back to its source as if from the interface where the packet is to leave (`fib_validate_source` is
given the output interface). For a client's packet that way is the third rule. For a target's reply, which leaves by
the tunnel, it is the first, so that it is found even where the host's main table knows another way or none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.hostnet.errors import KernelRefusedError
from gateway.hostnet.records import Device, HostProblem, Link, Route, Rule, RuleAction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network

    from gateway.hostnet.netlink import Netlink
    from policy import EndpointSpec, TargetNetwork

__all__ = ["TABLE_BASE", "RoutingPlan", "TargetRoute", "apply_plan", "plan_routing", "remove_table", "target_routes"]

TABLE_BASE = 0x5057_0000
"""The letters PW. Tables up to 255 have names, those of most other programs are small numbers or 0xc000_0000 up."""

TABLE_PRIORITY = 90
"""Before the rules of other programs, which sit at 1000 (VRF), 5210 (Tailscale), 32764 (WireGuard): ours match
nothing but the tunnel and its clients, theirs often match everything."""
UNREACHABLE_PRIORITY = 91
CLIENTS_PRIORITY = 92

_PLAIN_INTERFACE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
"""Names that mean themselves everywhere: nftables reads `*` as a wildcard and `@` as a set."""


@dataclass(frozen=True, slots=True)
class TargetRoute:
    """A destination that is reached through a target network."""

    destination: IPv4Network
    target: TargetNetwork


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    """What one endpoint wants of the kernel's routing, with the interfaces that exist now."""

    table: int
    rules: tuple[Rule, ...]
    client_route: Route
    target_routes: tuple[tuple[TargetRoute, Route], ...]
    problems: tuple[HostProblem, ...]

    @property
    def interfaces(self) -> frozenset[str]:
        """The interfaces that packets to and from the endpoint's target networks pass."""
        return frozenset(wanted.target.interface for wanted, _ in self.target_routes)


def plan_routing(device: Device, spec: EndpointSpec, links: Mapping[str, Link]) -> RoutingPlan:
    """Decide rules and routes; a target network without its interface becomes a problem, and has no routes."""
    table = TABLE_BASE + device.ifindex
    problems = tuple(
        HostProblem(spec.name, target.name, text)
        for target in spec.target_networks
        if (text := _problem_with(target, links)) is not None
    )
    unusable = {problem.target_network for problem in problems}
    return RoutingPlan(
        table=table,
        rules=_plan_rules(device, spec, table),
        client_route=Route(table, spec.client_cidr_block, device.ifindex, preferred_source=spec.gateway_address),
        target_routes=tuple(
            (wanted, _plan_route(table, wanted, links[wanted.target.interface]))
            for wanted in target_routes(spec)
            if wanted.target.name not in unusable
        ),
        problems=problems,
    )


def target_routes(spec: EndpointSpec) -> tuple[TargetRoute, ...]:
    """The endpoint's routes through target networks, the most specific first.

    A route that covers its target's own network gets that network beside it, so that hosts on the link are
    reached without the detour over the gateway, unless a more specific route decides otherwise.
    """
    targets = {target.name: target for target in spec.target_networks}
    wanted = {route.destination: targets[route.target] for route in spec.routes if route.target in targets}
    decided = {route.destination: route.target for route in spec.routes}
    for target in spec.target_networks:
        covering = [destination for destination in decided if target.cidr.subnet_of(destination)]
        if covering and decided[max(covering, key=lambda network: network.prefixlen)] == target.name:
            wanted[target.cidr] = target
    by_length = sorted(wanted.items(), key=lambda item: (-item[0].prefixlen, item[0]))
    return tuple(TargetRoute(destination, target) for destination, target in by_length)


def _plan_rules(device: Device, spec: EndpointSpec, table: int) -> tuple[Rule, ...]:
    return (
        # The refusal comes first into the kernel, so that there is no moment without it.
        Rule(UNREACHABLE_PRIORITY, table, RuleAction.UNREACHABLE, input_interface=device.name),
        Rule(TABLE_PRIORITY, table, input_interface=device.name),
        Rule(CLIENTS_PRIORITY, table, destination=spec.client_cidr_block),
    )


def _plan_route(table: int, wanted: TargetRoute, link: Link) -> Route:
    on_link = wanted.destination.subnet_of(wanted.target.cidr)
    return Route(table, wanted.destination, link.ifindex, gateway=None if on_link else wanted.target.gateway)


def _problem_with(target: TargetNetwork, links: Mapping[str, Link]) -> str | None:
    where = f"interface {target.interface!r} of target network {target.name!r}"
    if not _PLAIN_INTERFACE_NAME.fullmatch(target.interface):
        return f"{where} has a name with characters that nftables reads as something else; rename the interface"
    link = links.get(target.interface)
    if link is None:
        return f"{where} does not exist; its routes come up as soon as it does"
    if not link.is_up:
        return f"{where} is down; its routes come up as soon as it is set up"
    return None


def apply_plan(netlink: Netlink, plan: RoutingPlan, endpoint: str) -> tuple[HostProblem, ...]:
    """Bring the kernel's rules and routes to the plan, touching only what differs.

    Returns what the kernel refused for single target networks; raises `KernelRefusedError` for the endpoint as a whole.
    """
    rules = {rule for rule in netlink.rules() if rule.table == plan.table}
    routes = {route for route in netlink.routes() if route.table == plan.table}
    for rule in plan.rules:
        if rule not in rules:
            netlink.add_rule(rule)
    if plan.client_route not in routes:
        netlink.set_route(plan.client_route)
    problems = _add_target_routes(netlink, plan, routes, endpoint)
    destinations = {plan.client_route.destination} | {route.destination for _, route in plan.target_routes}
    for route in routes:
        if route.destination not in destinations:
            netlink.remove_route(route)
    for rule in rules.difference(plan.rules):
        netlink.remove_rule(rule)
    return problems


def _add_target_routes(
    netlink: Netlink, plan: RoutingPlan, present: set[Route], endpoint: str
) -> tuple[HostProblem, ...]:
    problems = []
    for wanted, route in plan.target_routes:
        try:
            if route not in present:
                netlink.set_route(route)
        except KernelRefusedError as error:
            text = f"{error} through target network {wanted.target.name!r}"
            problems.append(HostProblem(endpoint, wanted.target.name, text))
    return tuple(problems)


def remove_table(netlink: Netlink, table: int) -> None:
    """Remove the rules and routes of one table; none there is no error."""
    # The refusal goes last: until then nothing out of the tunnel reaches the host's main table.
    for rule in sorted(netlink.rules(), key=lambda rule: rule.action is RuleAction.UNREACHABLE):
        if rule.table == table:
            netlink.remove_rule(rule)
    for route in netlink.routes():
        if route.table == table:
            netlink.remove_route(route)
