"""Target networks, routes and authorization rules of an endpoint: exactly those that the file has.

What is to go goes first, so that an endpoint's settings are judged without it; what is to come follows them. What
differs only in its description goes and comes again, as the API has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from gateway.actions import associations, routes, rules
from gateway.actions.declaration.changes import Change, Detail, Kind, refuse
from gateway.actions.endpoint_vpc import check_groups, put_groups
from gateway.store.schema import association
from policy import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row

    from gateway.actions.call import Call
    from gateway.actions.declaration.changes import Work
    from gateway.actions.declaration.state import Held, HeldNetwork, State
    from gateway.actions.declaration.task import Task
    from gateway.config.declaration import AuthorizationRule, Endpoint, Route, TargetNetwork

    RouteKey = tuple[str, str]
    RuleKey = tuple[str, str]

__all__ = ["add_parts", "remove_parts"]

_DEFAULT_GROUPS = ("default",)


def remove_parts(task: Task) -> None:
    """Take away what an endpoint has and is not to have."""
    held, work = task.held, task.work
    if held is None:
        return
    endpoint_id, declared = held.row.id, held.declared
    wanted_rules = _rules(task.wanted.authorization_rule)
    for rule_key, rule in _rules(declared.authorization_rule).items():
        if rule_key not in wanted_rules:
            with work.change(Change(Kind.DELETE, _rule_text(declared.name, rule))):
                _revoke(work, endpoint_id, rule)
    wanted_routes = _routes(task.wanted.route)
    for route_key, route in _routes(declared.route).items():
        if route_key not in wanted_routes:
            with work.change(Change(Kind.DELETE, _route_text(declared.name, route))):
                _delete_route(work, endpoint_id, route, held.targets[route.target])
    replaced = set(_replaced(task).values())
    for name, network in held.networks.items():
        if name in replaced:  # it is another line's
            _disassociate(work, endpoint_id, network)
        elif name not in _names(task.wanted):
            with work.change(Change(Kind.DELETE, _network_text(declared.name, name), task.key_path)):
                _disassociate(work, endpoint_id, network)


def remove_networks(work: Work, held: Held) -> None:
    """Take away the target networks of an endpoint that goes itself, and with them their routes."""
    for name, network in held.networks.items():
        with work.change(Change(Kind.DELETE, _network_text(held.declared.name, name))):
            _disassociate(work, held.row.id, network)


def add_parts(task: Task, endpoint_id: str) -> None:
    """Add what an endpoint is to have and has not."""
    for index, network in enumerate(task.wanted.target_network):
        _put_network(task, endpoint_id, network, task.at(f"target_network[{index}]"))
    _put_order(task, endpoint_id)
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
        with task.work.change(_arrival(task, network.name, what, path, names)):
            reply = task.work.run(associations.associate, ClientVpnEndpointId=endpoint_id, SubnetId=row.subnet_id)
            _put_groups(task, reply["AssociationId"], row, names, path)
    elif (former := _former_groups(task, network.name)) != names:
        detail = Detail("security_groups", ", ".join(former), ", ".join(names))
        with task.work.change(Change(Kind.MODIFY, what, path, (detail,))):
            _put_groups(task, present.association_id, row, names, path)
    else:
        _put_groups(task, present.association_id, row, names, path)  # a change of the endpoint's has replaced them


def _arrival(task: Task, name: str, what: str, path: str, groups: tuple[str, ...]) -> Change:
    """The line of a network that is new, or takes the place of the one in its zone."""
    former = _replaced(task).get(name)
    if former is None:
        return Change(Kind.CREATE, what, path, (Detail("security_groups", None, ", ".join(groups)),))
    details = (
        Detail("name", former, name),
        Detail("security_groups", ", ".join(_former_groups(task, former)), ", ".join(groups)),
    )
    return Change(Kind.REPLACE, what, path, tuple(detail for detail in details if detail.old != detail.new))


def _replaced(task: Task) -> dict[str, str]:
    """The networks that come in the place of another one, which has their availability zone, and that other one."""
    held = task.held.networks if task.held else {}
    offered = task.state.networks
    going = {offered[name].zone: name for name in held if name in offered and name not in _names(task.wanted)}
    coming = [name for name in _names(task.wanted) if name in offered and name not in held]
    return {name: going[offered[name].zone] for name in coming if offered[name].zone in going}


def _names(wanted: Endpoint) -> list[str]:
    return [network.name for network in wanted.target_network]


def _disassociate(work: Work, endpoint_id: str, network: HeldNetwork) -> None:
    work.run(associations.disassociate, ClientVpnEndpointId=endpoint_id, AssociationId=network.association_id)


def _put_order(task: Task, endpoint_id: str) -> None:
    """Give the networks ages in the order of the file: for a destination behind several of them, the oldest decides."""
    held = list(task.held.networks) if task.held else []
    kept = [name for name in _names(task.wanted) if name in held]
    former = [name for name in held if name in kept]
    if kept != former:
        detail = Detail("target_network", ", ".join(former), ", ".join(kept))
        task.work.changes.append(
            Change(Kind.MODIFY, f'endpoint "{task.wanted.name}": order of target networks', task.key_path, (detail,))
        )
    present = _by_age(task.work.call, endpoint_id)
    order = [_subnet_id(task, name) for name in _names(task.wanted)]
    if [row.subnet_id for row in present] != order:
        for row in sorted(present, key=lambda row: order.index(row.subnet_id)):
            born = task.work.with_parameters().now
            task.work.call.connection.execute(
                update(association).where(association.c.id == row.id).values(created_at=born)
            )


def _by_age(call: Call, endpoint_id: str) -> Sequence[Row[Any]]:
    table = association.c
    alive = (table.endpoint_id == endpoint_id, table.ended_at.is_(None), table.status_code != "disassociating")
    return call.connection.execute(select(association).where(*alive).order_by(table.created_at, table.id)).all()


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
