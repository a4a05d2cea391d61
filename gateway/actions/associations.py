"""Target networks of endpoints: which of the hosts' networks the clients of an endpoint can get to at all.

Owns the rows of `association`, and the automatic route and the security groups that each begins with. Gateways carry
out what stands there, and say by the status how it went.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, or_, select, update

from gateway.actions.call import ActionError, Call, action
from gateway.actions.ending import end_association
from gateway.actions.endpoint_vpc import put_groups
from gateway.actions.listing import matching_shapes, paginate
from gateway.actions.objects import find_endpoint, new_id, status_shape
from gateway.actions.security_groups import default_group
from gateway.actions.vpcs import find_subnet
from gateway.store.schema import association, association_security_group, endpoint, route
from policy import is_overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

__all__ = ["associate", "describe", "disassociate"]

_AUTOMATIC_ROUTE: Final = "Default Route"
"""The description that AWS gives it."""

_FILTERS: Final = {"association-id": "AssociationId", "target-network-id": "TargetNetworkId", "vpc-id": "VpcId"}


@action("AssociateClientVpnTargetNetwork", changes=True)
def associate(call: Call) -> dict[str, Any]:
    """Associate a subnet, with a route to it; the first one decides about the endpoint's VPC.

    A subnet that is being disassociated is associated again, under its old id, without the routes that it had; another
    one of its zone gives way.
    Raises `InvalidClientVpnSubnetId.NotFound` for another VPC's, `.DuplicateAz`, `.OverlappingCidr`, and
    `InvalidClientVpnDuplicateAssociationException`.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    subnet = find_subnet(call, _asked_subnet(call))
    _check_fits(owner, subnet)
    ending = _in_zone(call, owner, subnet)
    if ending is None:
        association_id = _add(call, owner, subnet)
    else:
        (call.before,) = _shapes(call, [ending])
        association_id = ending.id
        _set_status(call, association_id, "associating")
        put_groups(call, [association_id], _groups_to_begin_with(call, owner, subnet))
    _put_automatic_route(call, association_id, owner, subnet)
    row = _find(call, owner.id, association_id)
    (call.after,) = _shapes(call, [row])
    return {"AssociationId": row.id, "Status": status_shape(row)}


@action("DisassociateClientVpnTargetNetwork", changes=True)
def disassociate(call: Call) -> dict[str, Any]:
    """End an association; its routes, automatic and manual, go with it.

    Doing so twice changes nothing. Raises `InvalidClientVpnAssociationIdNotFound`.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    row = _find(call, owner.id, call.parameters["AssociationId"])
    (call.before,) = _shapes(call, [row])
    call.affects_gateways = row.status_code != "disassociating"
    if call.affects_gateways:
        _set_status(call, row.id, "disassociating")
        call.connection.execute(
            update(route).where(route.c.association_id == row.id).values(status_code="deleting", status_message="")
        )
        row = _find(call, owner.id, row.id)
    (call.after,) = _shapes(call, [row])
    return {"AssociationId": row.id, "Status": status_shape(row)}


@action("DescribeClientVpnTargetNetworks")
def describe(call: Call) -> dict[str, Any]:
    """List the associations of an endpoint that have not ended, the oldest first.

    Raises `InvalidClientVpnAssociationIdNotFound` for an id that is asked for and not among them.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"])
    rows = {row.id: row for row in _alive(call, owner.id)}
    asked = set(call.parameters.get("AssociationIds") or rows)
    for unknown in asked - rows.keys():
        raise _not_found(unknown)
    shapes = _shapes(call, [rows[association_id] for association_id in asked])
    matching = matching_shapes(call, shapes, _FILTERS)
    page, token = paginate(
        call, matching, key=lambda shape: (rows[shape["AssociationId"]].created_at, shape["AssociationId"])
    )
    return {"ClientVpnTargetNetworks": page, "NextToken": token}


def _asked_subnet(call: Call) -> str:
    zones = [name for name in ("AvailabilityZone", "AvailabilityZoneId") if call.parameters.get(name)]
    subnet_id = call.parameters.get("SubnetId")
    if len(zones) + bool(subnet_id) > 1:
        raise ActionError(
            "InvalidParameterCombination",
            f"{zones[0]} cannot stand beside another target network. Give a SubnetId only.",
        )
    if zones:
        raise ActionError(
            "UnsupportedOperation",
            f"{zones[0]} is for endpoints of a Transit Gateway, which there are not. Give a SubnetId.",
        )
    if not subnet_id:
        raise ActionError("MissingParameter", "SubnetId is missing: the id of the subnet to associate.")
    return str(subnet_id)


def _check_fits(owner: Row[Any], subnet: Row[Any]) -> None:
    if subnet.file_endpoint_id is not None:
        raise ActionError(
            "UnsupportedOperation",
            f"The subnet {subnet.subnet_id} ({subnet.name}) belongs to an endpoint of a configuration file. "
            "Declare it there as a [[network]], for all endpoints.",
        )
    if owner.vpc_id not in (None, subnet.vpc_id):
        raise ActionError(
            "InvalidClientVpnSubnetId.NotFound",
            f"The subnet {subnet.subnet_id} is in the VPC {subnet.vpc_id}, and the endpoint in {owner.vpc_id}. "
            "While it has no associations, its VPC can be changed.",
        )
    if is_overlap(IPv4Network(subnet.cidr), IPv4Network(owner.client_cidr_block)):
        raise ActionError(
            "InvalidClientVpnSubnetId.OverlappingCidr",
            f"{subnet.cidr} of the subnet {subnet.subnet_id} overlaps {owner.client_cidr_block}, the client range.",
        )


def _in_zone(call: Call, owner: Row[Any], subnet: Row[Any]) -> Row[Any] | None:
    """The association of this subnet that is about to end. No other one of the zone may go on; an ending one ends."""
    rivals = [row for row in _alive(call, owner.id) if subnet.zone == row.zone or subnet.subnet_id == row.subnet_id]
    same = next((row for row in rivals if row.subnet_id == subnet.subnet_id), None)
    if same is not None and same.status_code != "disassociating":
        raise ActionError(
            "InvalidClientVpnDuplicateAssociationException",
            f"The subnet {subnet.subnet_id} is associated with {owner.id} already, as {same.id}.",
        )
    for rival in rivals if same is None else ():
        if rival.status_code != "disassociating":
            raise ActionError(
                "InvalidClientVpnSubnetId.DuplicateAz",
                f"{rival.subnet_id} is associated with {owner.id} in the availability zone {subnet.zone}, "
                f"as {rival.id} ({rival.status_code}). A zone can have one subnet.",
            )
        end_association(call, rival.id)
    return same


def _add(call: Call, owner: Row[Any], subnet: Row[Any]) -> str:
    association_id = new_id("cvpn-assoc")
    call.connection.execute(
        insert(association).values(
            id=association_id,
            endpoint_id=owner.id,
            subnet_id=subnet.subnet_id,
            vpc_id=subnet.vpc_id,
            zone=subnet.zone,
            status_code="associating",
            created_at=call.now,
        )
    )
    put_groups(call, [association_id], _groups_to_begin_with(call, owner, subnet))
    if owner.vpc_id is None:
        call.connection.execute(update(endpoint).where(endpoint.c.id == owner.id).values(vpc_id=subnet.vpc_id))
    return association_id


def _groups_to_begin_with(call: Call, owner: Row[Any], subnet: Row[Any]) -> Sequence[str]:
    return owner.default_security_group_ids or [default_group(call.connection, subnet.vpc_id, call.now)]


def _put_automatic_route(call: Call, association_id: str, owner: Row[Any], subnet: Row[Any]) -> None:
    """Set the route to the subnet itself; one that a former association has left behind makes room."""
    call.connection.execute(
        delete(route).where(
            route.c.endpoint_id == owner.id,
            route.c.subnet_id == subnet.subnet_id,
            or_(route.c.origin == "associate", route.c.destination_cidr == subnet.cidr),
        )
    )
    call.connection.execute(
        insert(route).values(
            endpoint_id=owner.id,
            destination_cidr=subnet.cidr,
            subnet_id=subnet.subnet_id,
            association_id=association_id,
            origin="associate",
            description=_AUTOMATIC_ROUTE,
            status_code="creating",
            created_at=call.now,
        )
    )


def _set_status(call: Call, association_id: str, code: str) -> None:
    call.connection.execute(
        update(association).where(association.c.id == association_id).values(status_code=code, status_message="")
    )


def _alive(call: Call, endpoint_id: str) -> Sequence[Row[Any]]:
    return call.connection.execute(
        select(association).where(association.c.endpoint_id == endpoint_id, association.c.ended_at.is_(None))
    ).all()


def _find(call: Call, endpoint_id: str, association_id: str) -> Row[Any]:
    for row in _alive(call, endpoint_id):
        if row.id == association_id:
            return row
    raise _not_found(association_id)


def _not_found(association_id: str) -> ActionError:
    return ActionError(
        "InvalidClientVpnAssociationIdNotFound", f"The endpoint has no target network association {association_id!r}."
    )


def _shapes(call: Call, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    groups = _groups(call, [row.id for row in rows])
    return [
        {
            "AssociationId": row.id,
            "VpcId": row.vpc_id,
            "TargetNetworkId": row.subnet_id,
            "ClientVpnEndpointId": row.endpoint_id,
            "Status": status_shape(row),
            "SecurityGroups": groups.get(row.id, []),
            "AvailabilityZones": [row.zone],
            "AvailabilityZoneIds": [row.zone],
        }
        for row in rows
    ]


def _groups(call: Call, association_ids: Sequence[str]) -> dict[str, list[str]]:
    """The security groups of each association that has some, in their order."""
    table = association_security_group
    rows = call.connection.execute(
        select(table).where(table.c.association_id.in_(association_ids)).order_by(table.c.position)
    )
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row.association_id, []).append(row.group_id)
    return groups
