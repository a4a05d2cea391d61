"""The VPC of an endpoint, and the security groups of its target networks there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from gateway.actions.call import ActionError, Call
from gateway.store.schema import association, association_security_group, network, security_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

__all__ = ["check_groups", "put_groups", "read_vpc", "regroup_associations"]


def read_vpc(call: Call, row: Row[Any] | None = None) -> dict[str, Any]:
    """The columns for the VPC and the groups that associations begin with; `row` is the endpoint as it is."""
    vpc_id = call.parameters.get("VpcId")
    groups = call.parameters.get("SecurityGroupIds")
    if vpc_id is None:
        if groups:
            raise ActionError("InvalidParameterValue", "SecurityGroupIds are those of a VPC. Add its VpcId.")
        return {}
    if call.connection.execute(select(network.c.vpc_id).where(network.c.vpc_id == vpc_id).limit(1)).first() is None:
        raise ActionError("InvalidVpcID.NotFound", f"There is no VPC {vpc_id!r}.")
    moved = row is not None and row.vpc_id != vpc_id
    if row is not None and moved:
        _check_may_move(call, row)
    if groups:
        check_groups(call, vpc_id, groups)
        return {"vpc_id": vpc_id, "default_security_group_ids": list(groups)}
    return {"vpc_id": vpc_id, **({"default_security_group_ids": []} if moved else {})}


def _check_may_move(call: Call, row: Row[Any]) -> None:
    if _associations(call, row.id):
        raise ActionError(
            "InvalidParameterValue",
            f"VpcId: the endpoint {row.id} has target networks in {row.vpc_id}. Disassociate them first.",
        )


def check_groups(call: Call, vpc_id: str, group_ids: Sequence[str]) -> None:
    """Whether target networks of a VPC may have these. Raises `InvalidSecurityGroupID.NotFound` and others."""
    limit = call.settings.quotas.security_groups_per_association
    if limit and len(group_ids) > limit:
        raise ActionError(
            "InvalidParameterValue", f"SecurityGroupIds: {len(group_ids)} are too many; the limit is {limit}."
        )
    if len(set(group_ids)) < len(group_ids):
        raise ActionError("InvalidParameterValue", "SecurityGroupIds: one of them is there twice.")
    known = set(
        call.connection.scalars(
            select(security_group.c.id).where(security_group.c.id.in_(group_ids), security_group.c.vpc_id == vpc_id)
        )
    )
    for group_id in group_ids:
        if group_id not in known:
            raise ActionError(
                "InvalidSecurityGroupID.NotFound", f"There is no security group {group_id!r} in {vpc_id}."
            )


def regroup_associations(call: Call, endpoint_id: str, group_ids: Sequence[str]) -> None:
    """As with AWS, the groups of an endpoint are those of all its target networks."""
    put_groups(call, _associations(call, endpoint_id), group_ids)


def _associations(call: Call, endpoint_id: str) -> Sequence[str]:
    """Those that are there to stay."""
    return call.connection.scalars(
        select(association.c.id).where(
            association.c.endpoint_id == endpoint_id,
            association.c.ended_at.is_(None),
            association.c.status_code != "disassociating",
        )
    ).all()


def put_groups(call: Call, association_ids: Sequence[str], group_ids: Sequence[str]) -> None:
    """Give target networks these groups in the place of those that they have."""
    table = association_security_group
    call.connection.execute(delete(table).where(table.c.association_id.in_(association_ids)))
    rows = [
        {"association_id": association_id, "group_id": group_id, "position": position}
        for association_id in association_ids
        for position, group_id in enumerate(group_ids)
    ]
    if rows:
        call.connection.execute(insert(table), rows)
