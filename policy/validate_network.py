"""How the networks of one endpoint fit together: client range, target networks, routes, rules and DNS servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy.access import UNROUTABLE, deciding_route, deciding_rules
from policy.prefix_set import PrefixSet
from policy.problems import Problem, error, name_hint, repeats, warning
from policy.routes import pushed_routes
from policy.spec import LOCAL
from policy.validate_groups import check_security_groups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network

    from policy.spec import AuthorizationRule, EndpointSpec, Route, TargetNetwork

__all__ = [
    "MAX_PUSHED_ROUTES",
    "MAX_ROUTES",
    "MAX_RULES",
    "check_network",
    "check_next_hop",
    "destination_obstacles",
    "is_overlap",
]

WIDEST_PREFIX = 12
"""AWS's limit."""
NARROWEST_PREFIX = 29
"""Five clients. AWS stops at /22, which a small office does not fill."""
MAX_ROUTES = 1_000
"""Ten times AWS's quota for one association."""
MAX_RULES = 10_000
"""Fifty times AWS's quota; tables of this size still compile in well under 0.1 s."""
MAX_PUSHED_ROUTES = 250
"""Clients install pushed routes one by one, on Windows by a request each: more of them are felt at every connect."""


def is_overlap(network: IPv4Network, client_range: IPv4Network) -> bool:
    """Whether a network gets into a client range; the default route does not, for it means "everything else"."""
    return network.prefixlen > 0 and network.overlaps(client_range)


def check_network(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    """All problems of this kind; `path` is the endpoint's own key path."""
    yield from _check_client_range(f"{path}.client_cidr_block", endpoint.client_cidr_block)
    yield from _check_targets(path, endpoint)
    yield from _check_routes(path, endpoint)
    yield from _check_rules(path, endpoint)
    yield from _check_dns(path, endpoint)


def _check_client_range(path: str, client_range: IPv4Network) -> Iterator[Problem]:
    if client_range.prefixlen > NARROWEST_PREFIX:
        yield error(path, f"{client_range} is too small. Use /{NARROWEST_PREFIX} (5 clients) or larger.")
    if client_range.prefixlen < WIDEST_PREFIX:
        yield error(path, f"{client_range} is too large. Use /{WIDEST_PREFIX} or smaller.")
    if _unroutable_part(client_range) is not None:
        yield error(path, f"{client_range} holds addresses that nobody may have. Use a private range.")
    elif client_range.is_global:
        yield warning(
            path, f"{client_range} belongs to others on the internet, who will be out of reach. Use a private range."
        )


def _check_targets(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    repeated = repeats(target.name for target in endpoint.target_networks)
    for index, target in enumerate(endpoint.target_networks):
        key = f"{path}.target_network[{index}]"
        if target.name == LOCAL:
            yield error(f"{key}.name", f'"{LOCAL}" stands for the clients themselves. Choose another name.')
        if index in repeated:
            yield error(f"{key}.name", f'Another target network is called "{target.name}" too. Give each its own name.')
        if is_overlap(target.cidr, endpoint.client_cidr_block):
            yield error(
                f"{key}.cidr",
                f"{target.cidr} overlaps the client range {endpoint.client_cidr_block}. Move the client range.",
            )
        yield from check_next_hop(f"{key}.gateway", target)
        yield from check_security_groups(f"{key}.security_groups", target)


def check_next_hop(path: str, target: TargetNetwork) -> Iterator[Problem]:
    """What is wrong with the way to what lies behind a target network; `path` is that of the next hop's key."""
    if target.gateway is None:
        return
    if target.gateway not in target.cidr:
        yield error(path, f"{target.gateway} is not in {target.cidr}. A next hop must be on the target network itself.")
    elif target.cidr.prefixlen < 31 and target.gateway in (target.cidr[0], target.cidr[-1]):
        yield error(path, f"{target.gateway} is the network or broadcast address of {target.cidr}. Name a host.")


def _check_routes(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    if len(endpoint.routes) > MAX_ROUTES:
        yield error(f"{path}.route", f"{len(endpoint.routes)} routes are too many; the limit is {MAX_ROUTES}.")
    if len(pushed := pushed_routes(endpoint)) > MAX_PUSHED_ROUTES:
        yield warning(
            f"{path}.route",
            f"{len(pushed)} routes are pushed to each client, which makes connecting slow. Combine them.",
        )
    repeated = repeats(route.destination for route in endpoint.routes)
    authorised = PrefixSet(rule.destination for rule in endpoint.authorization_rules)
    targets = {target.name: target for target in reversed(endpoint.target_networks)}  # of namesakes the first
    for index, route in enumerate(endpoint.routes):
        key = f"{path}.route[{index}]"
        if index in repeated:
            yield error(f"{key}.destination", f"Another route leads to {route.destination} already. Keep one of them.")
        if not authorised.overlaps(route.destination):
            yield warning(
                f"{key}.destination",
                f"No authorization rule covers any of {route.destination}, so nobody gets there. Add one.",
            )
        for obstacle in destination_obstacles(route.destination, route.target, endpoint.client_cidr_block):
            yield error(f"{key}.destination", obstacle)
        yield from _check_target_of(key, route, targets)


def destination_obstacles(destination: IPv4Network, target: str, client_range: IPv4Network) -> Iterator[str]:
    """Why no route to a destination can have a target, whatever the target's network is; sentences for people."""
    dead = _unroutable_part(destination)
    if dead is not None and destination.prefixlen >= dead.prefixlen:
        yield f"{destination} is in {dead}, which is never forwarded. Remove the route."
    if target == LOCAL:
        if not destination.subnet_of(client_range):
            yield (
                f"{destination} is not in the client range {client_range}. "
                f'A route to "{LOCAL}" leads from client to client; use {client_range}.'
            )
    elif is_overlap(destination, client_range):
        yield (
            f"{destination} overlaps the client range {client_range}. "
            f'Move the client range elsewhere, or use the target "{LOCAL}" for what lies between clients.'
        )


def _check_target_of(path: str, route: Route, targets: dict[str, TargetNetwork]) -> Iterator[Problem]:
    if route.target == LOCAL:
        return
    target = targets.get(route.target)
    if target is None:
        hint = name_hint(route.target, [*targets, LOCAL])
        yield error(f"{path}.target", f'There is no target network "{route.target}". {hint}')
    elif target.gateway is None and not route.destination.subnet_of(target.cidr):
        yield error(
            f"{path}.destination",
            f'{route.destination} is beyond {target.cidr} of the target network "{target.name}", which has no gateway. '
            "Give the target network the gateway that leads there.",
        )


def _check_rules(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    rules = endpoint.authorization_rules
    if len(rules) > MAX_RULES:
        yield error(f"{path}.authorization_rule", f"{len(rules)} rules are too many; the limit is {MAX_RULES}.")
    repeated = repeats((rule.destination, rule.group) for rule in rules)
    for_everyone = {rule.destination for rule in rules if rule.group is None}
    routed = PrefixSet(route.destination for route in endpoint.routes)
    local = PrefixSet(route.destination for route in endpoint.routes if route.target == LOCAL)
    for index, rule in enumerate(rules):
        key = f"{path}.authorization_rule[{index}]"
        if index in repeated:
            yield error(key, f"An equal rule for {rule.destination} stands above. Remove this one.")
        leads_inside = rule.destination.subnet_of(endpoint.client_cidr_block)
        if not (local if leads_inside else routed).overlaps(rule.destination):
            yield warning(
                f"{key}.destination", f"No route leads to {rule.destination}, so the rule has no effect. Add a route."
            )
        if rule.group is not None:
            yield from _check_group(key, rule, endpoint, shadowed=rule.destination in for_everyone)


def _check_group(path: str, rule: AuthorizationRule, endpoint: EndpointSpec, *, shadowed: bool) -> Iterator[Problem]:
    if not rule.group:
        yield error(f"{path}.group", "The group has no name. Name one, or authorise everyone with all = true.")
    if shadowed:
        yield warning(
            f"{path}.group", f"Another rule authorises everyone for {rule.destination}. Remove one of the two."
        )
    if endpoint.authentication.groups_from is None:
        yield warning(
            f"{path}.group",
            f'No client is ever in the group "{rule.group}": clients have no groups. Set authentication.groups_from.',
        )


def _check_dns(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    """DNS servers that clients are told of but cannot ask; public ones they ask directly with split tunnel."""
    for index, server in enumerate(endpoint.dns_servers):
        routed, authorised = deciding_route(endpoint, server), deciding_rules(endpoint, server)
        missing = "route" if routed is None else "authorization rule" if not authorised else None
        if missing is not None and not (endpoint.split_tunnel and server.is_global):
            yield warning(
                f"{path}.dns_servers[{index}]",
                f"Clients cannot ask {server} through the tunnel, because no {missing} covers it. Add one.",
            )


def _unroutable_part(network: IPv4Network) -> IPv4Network | None:
    return next((dead for dead in UNROUTABLE if dead.overlaps(network)), None)
