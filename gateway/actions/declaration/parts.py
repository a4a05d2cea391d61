"""Target networks, routes and authorization rules of an endpoint: exactly those that the file has.

What is to go goes first, so that an endpoint's settings are judged without it; what is to come follows them. What
differs only in its description goes and comes again, as the API has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.actions import associations, routes, rules
from gateway.actions.declaration.changes import Change, Detail, Kind, refuse
from gateway.actions.endpoint_vpc import check_groups, put_groups
from policy import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Row

    from gateway.actions.declaration.changes import Work
    from gateway.actions.declaration.state import Held, State
    from gateway.actions.declaration.task import Task
    from gateway.config.declaration import AuthorizationRule, Endpoint, Route, TargetNetwork

    RouteKey = tuple[str, str]
    RuleKey = tuple[str, str]

__all__ = ["add_parts", "remove_parts"]

_DEFAULT_GROUPS = ("default",)


def remove_parts(work: Work, held: Held, wanted: Endpoint | None, key_path: str) -> None:
    """Take away what an endpoint is not to have; all of it where it is to go itself."""
    endpoint_id, declared = held.row.id, held.declared
    if wanted is not None:
        wanted_rules = _rules(wanted.authorization_rule)
        for rule_key, rule in _rules(declared.authorization_rule).items():
            if rule_key not in wanted_rules:
                with work.change(Change(Kind.DELETE, _rule_text(declared.name, rule))):
                    _revoke(work, endpoint_id, rule)
        wanted_routes = _routes(wanted.route)
        for route_key, route in _routes(declared.route).items():
            if route_key not in wanted_routes:
                with work.change(Change(Kind.DELETE, _route_text(declared.name, route))):
                    _delete_route(work, endpoint_id, route, held.targets[route.target])
    kept = {network.name for network in wanted.target_network} if wanted else set()
    for name, network in held.networks.items():
        if name not in kept:
            with work.change(Change(Kind.DELETE, _network_text(declared.name, name), key_path)):
                work.run(
                    associations.disassociate, ClientVpnEndpointId=endpoint_id, AssociationId=network.association_id
                )


def add_parts(task: Task, endpoint_id: str) -> None:
    """Add what an endpoint is to have and has not."""
    for index, network in enumerate(task.wanted.target_network):
        _put_network(task, endpoint_id, network, task.at(f"target_network[{index}]"))
    routes_there = _routes(task.known.route) if task.known else {}
    for index, route in enumerate(task.wanted.route):
        _put_route(task, endpoint_id, route, routes_there.get(_route_key(route)), index)
    rules_there = _rules(task.known.authorization_rule) if task.known else {}
    for index, rule in enumerate(task.wanted.authorization_rule):
        _put_rule(task, endpoint_id, rule, rules_there.get(_rule_key(rule)), index)


# Networks


def _put_network(task: Task, endpoint_id: str, network: TargetNetwork, path: str) -> None:
    names = network.security_groups or task.wanted.security_groups or _DEFAULT_GROUPS
    present = task.held.networks.get(network.name) if task.held else None
    row = _offered(task.state, network, path, is_held=present is not None)
    if row is None:
        return
    what = _network_text(task.wanted.name, network.name)
    if present is None:
        detail = Detail("security_groups", None, ", ".join(names))
        with task.work.change(Change(Kind.CREATE, what, path, (detail,))):
            reply = task.work.run(associations.associate, ClientVpnEndpointId=endpoint_id, SubnetId=row.subnet_id)
            _put_groups(task, reply["AssociationId"], row, names, path)
    elif (former := _former_groups(task, network.name)) != names:
        detail = Detail("security_groups", ", ".join(former), ", ".join(names))
        with task.work.change(Change(Kind.MODIFY, what, path, (detail,))):
            _put_groups(task, present.association_id, row, names, path)
    else:
        _put_groups(task, present.association_id, row, names, path)  # a change of the endpoint's has replaced them


def _offered(state: State, network: TargetNetwork, path: str, *, is_held: bool) -> Row[Any] | None:
    """The row of a network; None for one that is no longer offered, and that the endpoint has. Raises `ActionError`."""
    row = state.networks.get(network.name)
    if row is None and not is_held:
        known = ", ".join(f'"{name}"' for name in sorted(state.networks)) or "none"
        sentence = f'No host offers a network "{network.name}". There are: {known}. Declare it as [[network]] there.'
        raise refuse(f"{path}.name", sentence, "InvalidSubnetID.NotFound")
    if row is not None:
        _check_agrees(network, row, path)
    return row


def _check_agrees(network: TargetNetwork, row: Row[Any], path: str) -> None:
    facts = {"interface": row.interface, "cidr": row.cidr, "nat": row.nat, "gateway": row.next_hop}
    for key, fact in facts.items():
        said = getattr(network, key)
        if said is not None and str(said) != str(fact):
            sentence = f'The network "{network.name}" has {fact}, and not {said}. Take it out here, or change it there.'
            raise refuse(f"{path}.{key}", sentence)


def _former_groups(task: Task, name: str) -> tuple[str, ...]:
    networks = task.known.target_network if task.known else ()
    return next((network.security_groups or () for network in networks if network.name == name), ())


def _put_groups(task: Task, association_id: str, row: Row[Any], names: tuple[str, ...], path: str) -> None:
    """Give a network its groups, whatever the endpoint's other ones have."""
    group_ids = [task.ids.find(row.vpc_name, name, f"{path}.security_groups") for name in names]
    check_groups(task.work.call, row.vpc_id, group_ids)
    put_groups(task.work.call, [association_id], group_ids)


def _network_text(endpoint: str, name: str) -> str:
    return f'endpoint "{endpoint}": target network "{name}"'


# Routes


def _put_route(task: Task, endpoint_id: str, route: Route, former: Route | None, index: int) -> None:
    """Add a route, unless it came with its network."""
    path = task.at(f"route[{index}]")
    targets = {network.name for network in task.wanted.target_network}
    if route.target not in targets | {LOCAL}:
        names = ", ".join(f'"{name}"' for name in sorted(targets)) or "none"
        raise refuse(f"{path}.target", f'"{route.target}" is no target network of the endpoint. There are: {names}.')
    if _is_automatic(task, route) or (former is not None and former.description == route.description):
        return
    subnet_id = _subnet_id(task, route.target)
    with task.work.change(_described(_route_text(task.wanted.name, route), path, former, route)):
        if former is not None:
            _delete_route(task.work, endpoint_id, former, subnet_id)
        task.work.run(
            routes.create,
            ClientVpnEndpointId=endpoint_id,
            DestinationCidrBlock=str(route.destination),
            TargetVpcSubnetId=subnet_id,
            Description=route.description,
        )


def _is_automatic(task: Task, route: Route) -> bool:
    if task.held is not None and route.target in task.held.networks:
        return _route_key(route) in task.held.automatic
    row = task.state.networks.get(route.target)
    return row is not None and row.cidr == str(route.destination)


def _subnet_id(task: Task, target: str) -> str:
    if target == LOCAL:
        return LOCAL
    if target in task.state.networks:
        return str(task.state.networks[target].subnet_id)
    return task.held.networks[target].subnet_id if task.held else target


def _delete_route(work: Work, endpoint_id: str, route: Route, subnet_id: str) -> None:
    work.run(
        routes.delete,
        ClientVpnEndpointId=endpoint_id,
        DestinationCidrBlock=str(route.destination),
        TargetVpcSubnetId=subnet_id,
    )


def _routes(declared: Iterable[Route]) -> dict[RouteKey, Route]:
    return {_route_key(route): route for route in declared}


def _route_key(route: Route) -> RouteKey:
    return str(route.destination), route.target


def _route_text(endpoint: str, route: Route) -> str:
    target = "from client to client" if route.target == LOCAL else f'through "{route.target}"'
    return f'endpoint "{endpoint}": route to {route.destination} {target}'


# Authorization rules


def _put_rule(
    task: Task, endpoint_id: str, rule: AuthorizationRule, former: AuthorizationRule | None, index: int
) -> None:
    path = task.at(f"authorization_rule[{index}]")
    if former is None or former.description != rule.description:
        with task.work.change(_described(_rule_text(task.wanted.name, rule), path, former, rule)):
            if former is not None:
                _revoke(task.work, endpoint_id, former)
            _authorize(task.work, endpoint_id, rule)


def _authorize(work: Work, endpoint_id: str, rule: AuthorizationRule) -> None:
    who = {"AccessGroupId": rule.group} if rule.group is not None else {"AuthorizeAllGroups": True}
    work.run(
        rules.authorize,
        ClientVpnEndpointId=endpoint_id,
        TargetNetworkCidr=str(rule.destination),
        Description=rule.description,
        **who,
    )


def _revoke(work: Work, endpoint_id: str, rule: AuthorizationRule) -> None:
    who = {"AccessGroupId": rule.group} if rule.group is not None else {"RevokeAllGroups": True}
    work.run(rules.revoke, ClientVpnEndpointId=endpoint_id, TargetNetworkCidr=str(rule.destination), **who)


def _rules(declared: Iterable[AuthorizationRule]) -> dict[RuleKey, AuthorizationRule]:
    return {_rule_key(rule): rule for rule in declared}


def _rule_key(rule: AuthorizationRule) -> RuleKey:
    return str(rule.destination), rule.group or ""


def _rule_text(endpoint: str, rule: AuthorizationRule) -> str:
    who = "everyone" if rule.group is None else f'the group "{rule.group}"'
    return f'endpoint "{endpoint}": rule that lets {who} reach {rule.destination}'


def _described(
    what: str, path: str, former: Route | AuthorizationRule | None, new: Route | AuthorizationRule
) -> Change:
    """The line for what is new, or has another description."""
    if former is None:
        details = (Detail("description", None, new.description),) if new.description else ()
        return Change(Kind.CREATE, what, path, details)
    return Change(Kind.MODIFY, what, path, (Detail("description", former.description, new.description),))
