"""Routes of endpoints: which destinations clients get to through which of the endpoint's target networks.

Owns the rows of `route` that were made by hand; automatic ones are `associations`' work. Routes of one destination
through several target networks are several routes, as with AWS: one for each association.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete as remove
from sqlalchemy import func, insert, select, update

from gateway.actions.call import ActionError, Call, action
from gateway.actions.listing import matching_shapes, paginate
from gateway.actions.objects import canonical_cidr, description_of, find_endpoint, is_visible, status_shape
from gateway.store.schema import association, endpoint, network, route
from policy import LOCAL, MAX_ROUTES, destination_obstacles, is_overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Row

__all__ = ["create", "delete", "describe"]

_FILTERS: Final = {"destination-cidr": "DestinationCidr", "origin": "Origin", "target-subnet": "TargetSubnet"}


@action("CreateClientVpnRoute", changes=True)
def create(call: Call) -> dict[str, Any]:
    """Add a route through an associated subnet, or with the target `local` from client to client.

    A route that is being deleted is made anew. Raises `InvalidClientVpnActiveAssociationNotFound`,
    `InvalidClientVpnDuplicateRoute`, `ClientVpnRouteLimitExceeded`, and `InvalidParameterValue` for a destination to
    which the target cannot lead.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    destination = canonical_cidr(call.parameters["DestinationCidrBlock"])
    target = _asked_target(call)
    description = description_of(call)
    association_id = None if target == LOCAL else _active_association(call, owner, target)
    _check_destination(call, owner, IPv4Network(destination), target)
    _make_room(call, owner, destination, target)
    row = call.connection.execute(
        insert(route)
        .values(
            endpoint_id=owner.id,
            destination_cidr=destination,
            subnet_id=target,
            association_id=association_id,
            origin="add-route",
            description=description,
            status_code="creating",
            created_at=call.now,
        )
        .returning(route)
    ).one()
    call.after = _shape(row)
    return {"Status": status_shape(row)}


@action("DeleteClientVpnRoute", changes=True)
def delete(call: Call) -> dict[str, Any]:
    """Delete a route that was made by hand. Doing so twice changes nothing.

    Raises `InvalidClientVpnRouteNotFound`, `InvalidParameterValue` for an automatic route, and `MissingParameter`
    where no target is named and several routes lead to the destination.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    row = _asked_route(call, owner)
    if row.origin == "associate":
        raise ActionError(
            "InvalidParameterValue",
            f"The route to {row.destination_cidr} came with the association of {row.subnet_id}, and goes with it. "
            "Disassociate the subnet.",
        )
    call.before = _shape(row)
    call.affects_gateways = row.status_code != "deleting"
    if call.affects_gateways:
        row = call.connection.execute(
            update(route)
            .where(*_same(owner.id, row.destination_cidr, row.subnet_id))
            .values(status_code="deleting", status_message="")
            .returning(route)
        ).one()
    call.after = _shape(row)
    return {"Status": status_shape(row)}


@action("DescribeClientVpnRoutes")
def describe(call: Call) -> dict[str, Any]:
    """List the routes of an endpoint."""
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"])
    shapes = [_shape(row) for row in _rows(call, owner)]
    matching = matching_shapes(call, shapes, _FILTERS)
    page, token = paginate(call, matching, key=lambda shape: (shape["DestinationCidr"], shape["TargetSubnet"]))
    return {"Routes": page, "NextToken": token}


def _asked_target(call: Call) -> str:
    target = call.parameters.get("TargetVpcSubnetId")
    if not target:
        raise ActionError(
            "MissingParameter",
            f'TargetVpcSubnetId is missing: the id of an associated subnet, or "{LOCAL}" for client to client.',
        )
    return str(target)


def _active_association(call: Call, owner: Row[Any], subnet_id: str) -> str:
    row = call.connection.execute(
        select(association).where(
            association.c.endpoint_id == owner.id,
            association.c.subnet_id == subnet_id,
            association.c.ended_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        raise ActionError(
            "InvalidClientVpnActiveAssociationNotFound",
            f"{subnet_id!r} is no subnet that {owner.id} is associated with.",
        )
    if row.status_code not in ("associating", "associated"):
        why = row.status_message or "a route needs an association that is there to stay."
        raise ActionError(
            "InvalidClientVpnActiveAssociationNotFound",
            f"The association {row.id} of {subnet_id} is {row.status_code}: {why}",
        )
    return str(row.id)


def _check_destination(call: Call, owner: Row[Any], destination: IPv4Network, target: str) -> None:
    for obstacle in destination_obstacles(destination, target, IPv4Network(owner.client_cidr_block)):
        raise ActionError("InvalidParameterValue", obstacle)
    if target != LOCAL:
        _check_leads_to_no_client(call, destination)
    subnet = call.connection.execute(select(network).where(network.c.subnet_id == target)).one_or_none()
    if subnet is not None and subnet.next_hop is None and not destination.subnet_of(IPv4Network(subnet.cidr)):
        raise ActionError(
            "InvalidParameterValue",
            f"{destination} is beyond {subnet.cidr} of the subnet {target}, behind which no next hop is known. "
            f'Give the network "{subnet.name}" its next_hop in the configuration file.',
        )


def _check_leads_to_no_client(call: Call, destination: IPv4Network) -> None:
    """A route into the range of another endpoint would lead away from its clients."""
    alive = select(endpoint).where(endpoint.c.ended_at.is_(None), endpoint.c.status_code != "deleting")
    for other in call.connection.execute(alive.order_by(endpoint.c.id)):
        if is_overlap(destination, IPv4Network(other.client_cidr_block)):
            name = f"of {other.name or other.id} " if is_visible(call, other.id) else ""
            raise ActionError(
                "InvalidParameterValue",
                f"{destination} overlaps the client range {other.client_cidr_block} {name}on this gateway. "
                "Choose a narrower destination, or move the client range.",
            )


def _make_room(call: Call, owner: Row[Any], destination: str, target: str) -> None:
    """Check that there may be one more route, and this one; a like one that is being deleted gives way."""
    same = _same(owner.id, destination, target)
    call.connection.execute(remove(route).where(*same, route.c.status_code == "deleting"))
    if call.connection.execute(select(route).where(*same)).first() is not None:
        raise ActionError(
            "InvalidClientVpnDuplicateRoute", f"{owner.id} has a route to {destination} through {target} already."
        )
    of_endpoint = (route.c.endpoint_id == owner.id) & (route.c.status_code != "deleting")
    through = call.connection.scalar(select(func.count()).where(of_endpoint, route.c.subnet_id == target)) or 0
    limit = call.settings.quotas.routes_per_association
    if limit and through >= limit:
        raise ActionError(
            "ClientVpnRouteLimitExceeded",
            f"{owner.id} has {through} routes through {target}; the limit is {limit}. "
            "Combine them, or raise routes_per_association in [api.quotas].",
        )
    others = select(func.count(route.c.destination_cidr.distinct())).where(
        of_endpoint, route.c.destination_cidr != destination
    )
    if (call.connection.scalar(others) or 0) >= MAX_ROUTES:
        raise ActionError(
            "ClientVpnRouteLimitExceeded",
            f"{owner.id} has routes to {MAX_ROUTES} destinations, the most. Combine them.",
        )


def _asked_route(call: Call, owner: Row[Any]) -> Row[Any]:
    destination = canonical_cidr(call.parameters["DestinationCidrBlock"])
    target = call.parameters.get("TargetVpcSubnetId")
    found = [row for row in _rows(call, owner, destination) if target in (None, "", row.subnet_id)]
    if not found:
        through = f" through {target!r}" if target else ""
        raise ActionError("InvalidClientVpnRouteNotFound", f"{owner.id} has no route to {destination}{through}.")
    if len(found) > 1:
        targets = ", ".join(sorted(row.subnet_id for row in found))
        raise ActionError(
            "MissingParameter", f"TargetVpcSubnetId is missing: {destination} is reached through {targets}."
        )
    return found[0]


def _rows(call: Call, owner: Row[Any], destination: str | None = None) -> Sequence[Row[Any]]:
    chosen = select(route).where(route.c.endpoint_id == owner.id)
    if destination is not None:
        chosen = chosen.where(route.c.destination_cidr == destination)
    return call.connection.execute(chosen).all()


def _same(endpoint_id: str, destination: str, target: str) -> tuple[ColumnElement[bool], ...]:
    """The key of a route."""
    return (
        route.c.endpoint_id == endpoint_id,
        route.c.destination_cidr == destination,
        route.c.subnet_id == target,
    )


def _shape(row: Row[Any]) -> dict[str, Any]:
    return {
        "ClientVpnEndpointId": row.endpoint_id,
        "DestinationCidr": row.destination_cidr,
        "TargetSubnet": row.subnet_id,
        "Type": "Nat",
        "Origin": row.origin,
        "Status": status_shape(row),
        "Description": row.description,
    }
