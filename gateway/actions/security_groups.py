"""Security groups: what a VPC has of them, and which of them filter an endpoint's target networks.

Owns the rows of `security_group` and who may touch them; what is in a group is for `security_group_rules`. A caller
whose key is for certain endpoints may use every group, and change those that no other endpoint depends on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, select, update

from gateway.actions.call import ActionError, Call, action
from gateway.actions.endpoint_vpc import check_groups, regroup_associations
from gateway.actions.ip_permissions import permission_shapes
from gateway.actions.listing import matching_shapes, paginate
from gateway.actions.objects import find_endpoint, is_visible, new_id
from gateway.actions.tagging import forget_tags, put_tags, specified_tags, tags_of, tags_shape
from gateway.actions.vpcs import DEFAULT_VPC, default_vpc
from gateway.store.schema import (
    association,
    association_security_group,
    endpoint,
    network,
    security_group,
    security_group_rule,
)
from gateway.store.statements import rows_among
from policy import ALL_PROTOCOLS, ANY

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection, Row

__all__ = [
    "DEFAULT_GROUP",
    "add_group",
    "apply_groups",
    "check_group_quota",
    "check_may_change",
    "check_unused",
    "create_group",
    "default_group",
    "delete_group",
    "describe_groups",
    "find_group",
    "group_of_name",
    "group_shapes",
    "groups_for_vpc",
    "named_group",
    "remove_group",
]

DEFAULT_GROUP = "default"
"""The name of the group that every VPC has as soon as something is associated with it."""

_RESOURCE_TYPE = "security-group"
_GROUP_ID = re.compile(r"sg-[0-9a-zA-Z]+")
_TEXT = re.compile(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")
"""What AWS takes for names and descriptions."""
_TEXT_RULE = "has 1 to 255 of the letters a to z, digits, blanks and ._-:/()#,@[]+=&;{}!$*"

_FILTERS: Final = {
    "description": "Description",
    "group-id": "GroupId",
    "group-name": "GroupName",
    "owner-id": "OwnerId",
    "vpc-id": "VpcId",
} | {
    f"{prefix}.{name}": f"{member}.{path}"
    for prefix, member in (("ip-permission", "IpPermissions"), ("egress.ip-permission", "IpPermissionsEgress"))
    for name, path in (
        ("cidr", "IpRanges.CidrIp"),
        ("from-port", "FromPort"),
        ("group-id", "UserIdGroupPairs.GroupId"),
        ("protocol", "IpProtocol"),
        ("to-port", "ToPort"),
        ("user-id", "UserIdGroupPairs.UserId"),
    )
}

_KEPT_FOR_VPC: Final = ("GroupId", "GroupName", "Description", "OwnerId", "Tags")
_FILTERS_FOR_VPC: Final = {
    "description": "Description",
    "group-id": "GroupId",
    "group-name": "GroupName",
    "owner-id": "OwnerId",
    "primary-vpc-id": "PrimaryVpcId",
}


@action("CreateSecurityGroup", changes=True)
def create_group(call: Call) -> dict[str, Any]:
    """Make a group that lets clients everywhere, until its egress rule is revoked.

    Raises `InvalidGroup.Duplicate`, `SecurityGroupLimitExceeded`, `InvalidVpcID.NotFound`, `VPCIdNotSpecified`.
    """
    reply = add_group(call)
    check_group_quota(call)
    return reply


def add_group(call: Call) -> dict[str, Any]:
    """The same, for who looks at the quota later. Raises what `create_group` raises, but for that."""
    name, description = _read_name(call), _read_text("Description", call.parameters["Description"])
    vpc_id = _asked_vpc(call)
    tags = specified_tags(call, _RESOURCE_TYPE)
    if group_of_name(call.connection, vpc_id, name) is not None:
        raise ActionError("InvalidGroup.Duplicate", f"There is a security group {name!r} in {vpc_id} already.")
    group_id = _insert(call.connection, vpc_id, name, description, call.now)
    put_tags(call, group_id, _RESOURCE_TYPE, tags)
    call.resource_id, call.affects_gateways = group_id, False
    (call.after,) = group_shapes(call, [find_group(call, group_id)])
    return {"GroupId": group_id, "SecurityGroupArn": _arn(call, group_id), "Tags": tags_shape(tags)}


@action("DeleteSecurityGroup", changes=True)
def delete_group(call: Call) -> dict[str, Any]:
    """Delete a group that nothing uses.

    Raises `CannotDelete` for a VPC's default group, `DependencyViolation`, and what `named_group` raises.
    """
    row = named_group(call)
    check_unused(call, row)
    call.resource_id, call.affects_gateways = row.id, False
    (call.before,) = group_shapes(call, [row])
    remove_group(call, row.id)
    return {"Return": True, "GroupId": row.id}


def check_unused(call: Call, row: Row[Any], *, going: Collection[str] = ()) -> None:
    """Whether a group can go; what is ending, and the groups that are `going` as well, need it no more.

    Raises `CannotDelete` and `DependencyViolation`.
    """
    if row.name == DEFAULT_GROUP:
        raise ActionError("CannotDelete", f"{row.id} is the default security group of {row.vpc_id}, which has to stay.")
    naming = [group_id for group_id in _groups_naming(call.connection, row.id) if group_id not in going]
    users = [*_endpoints_with(call.connection, row.id, ending=False), *naming]
    if users:
        seen = [user for user in users if not user.startswith("cvpn-") or is_visible(call, user)]
        by = f" by {', '.join(seen)}" if seen else ""
        raise ActionError("DependencyViolation", f"The security group {row.id} is in use{by}. Take it out there first.")


@action("DescribeSecurityGroups")
def describe_groups(call: Call) -> dict[str, Any]:
    """List groups. Raises `InvalidGroup.NotFound` and `InvalidGroupId.Malformed` for ids, the former for names too."""
    shapes = matching_shapes(call, group_shapes(call, _asked(call)), _FILTERS, tagged=True)
    page, token = paginate(call, shapes, key=lambda shape: shape["GroupId"])
    return {"SecurityGroups": page, "NextToken": token}


@action("GetSecurityGroupsForVpc")
def groups_for_vpc(call: Call) -> dict[str, Any]:
    """List the groups that target networks of a VPC can have. Raises `InvalidVpcID.NotFound`."""
    rows = call.connection.execute(select(security_group).where(security_group.c.vpc_id == _asked_vpc(call))).all()
    shapes = [
        {name: shape[name] for name in _KEPT_FOR_VPC} | {"PrimaryVpcId": shape["VpcId"]}
        for shape in group_shapes(call, rows)
    ]
    matching = matching_shapes(call, shapes, _FILTERS_FOR_VPC, tagged=True)
    page, token = paginate(call, matching, key=lambda shape: shape["GroupId"])
    return {"SecurityGroupForVpcs": page, "NextToken": token}


@action("ApplySecurityGroupsToClientVpnTargetNetwork", changes=True)
def apply_groups(call: Call) -> dict[str, Any]:
    """Replace the groups of all target networks of an endpoint, those to come included.

    Raises `SecurityGroupsPerInterfaceLimitExceeded`, `InvalidVpcID.NotFound` for a VPC that is not the endpoint's, and
    `InvalidSecurityGroupID.NotFound`.
    """
    row = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    vpc_id, group_ids = call.parameters["VpcId"], list(call.parameters["SecurityGroupIds"])
    if row.vpc_id != vpc_id:
        raise ActionError("InvalidVpcID.NotFound", f"The endpoint {row.id} has no target network in {vpc_id!r}.")
    if not group_ids:
        raise ActionError("MissingParameter", "SecurityGroupIds is empty. Name at least one security group.")
    limit = call.settings.quotas.security_groups_per_association
    if limit and len(group_ids) > limit:
        raise ActionError(
            "SecurityGroupsPerInterfaceLimitExceeded",
            f"A target network can have {limit} security groups; these are {len(group_ids)}.",
        )
    check_groups(call, vpc_id, group_ids)
    call.before, call.after = list(row.default_security_group_ids), group_ids
    call.connection.execute(
        update(endpoint).where(endpoint.c.id == row.id).values(default_security_group_ids=group_ids)
    )
    regroup_associations(call, row.id, group_ids)
    return {"SecurityGroupIds": group_ids}


def default_group(connection: Connection, vpc_id: str, now: float) -> str:
    """The id of a VPC's default group, which is made where it is missing: clients may go everywhere."""
    found = group_of_name(connection, vpc_id, DEFAULT_GROUP)
    return found.id if found is not None else _insert(connection, vpc_id, DEFAULT_GROUP, "default VPC group", now)


def find_group(call: Call, group_id: str) -> Row[Any]:
    """The row of a group. Raises `InvalidGroupId.Malformed` and `InvalidGroup.NotFound`."""
    if not _GROUP_ID.fullmatch(group_id):
        raise ActionError("InvalidGroupId.Malformed", f"{group_id!r} is no security group's id. One begins with `sg-`.")
    row = call.connection.execute(select(security_group).where(security_group.c.id == group_id)).one_or_none()
    if row is None:
        raise ActionError("InvalidGroup.NotFound", f"There is no security group {group_id!r}.")
    return row


def named_group(call: Call) -> Row[Any]:
    """The group that `GroupId` or, in the default VPC, `GroupName` means, and that the caller may change.

    Raises `MissingParameter`, `InvalidParameterCombination`, `UnauthorizedOperation`, and what `find_group` raises.
    """
    group_id, name = call.parameters.get("GroupId"), call.parameters.get("GroupName")
    if group_id and name:
        raise ActionError("InvalidParameterCombination", "GroupId and GroupName say the same. Use GroupId alone.")
    if not group_id and not name:
        raise ActionError("MissingParameter", "GroupId is missing: the id of the security group.")
    row = find_group(call, group_id) if group_id else _in_default_vpc(call, str(name))
    check_may_change(call, row.id)
    return row


def check_may_change(call: Call, group_id: str) -> None:
    """Whether a group may be changed: not where it filters endpoints that the caller may not know of."""
    if not all(is_visible(call, owner) for owner in _endpoints_with(call.connection, group_id)):
        raise ActionError(
            "UnauthorizedOperation",
            f"This access key is for certain endpoints, and the security group {group_id} is used by others.",
            403,
        )


def group_shapes(call: Call, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Groups as replies have them, with their rules and tags."""
    ids = [row.id for row in rows]
    tags = tags_of(call, ids)
    rules = _rules_of(call.connection, ids)
    return [
        {
            "GroupId": row.id,
            "SecurityGroupArn": _arn(call, row.id),
            "GroupName": row.name,
            "Description": row.description,
            "VpcId": row.vpc_id,
            "OwnerId": call.settings.account_id,
            "IpPermissions": permission_shapes(rules.get((row.id, False), ()), call.settings.account_id),
            "IpPermissionsEgress": permission_shapes(rules.get((row.id, True), ()), call.settings.account_id),
            "Tags": tags_shape(tags[row.id]),
        }
        for row in rows
    ]


def _rules_of(connection: Connection, group_ids: Sequence[str]) -> dict[tuple[str, bool], list[Row[Any]]]:
    """The rules of groups, by group and by whether they are egress rules, the oldest first."""
    table = security_group_rule
    found: dict[tuple[str, bool], list[Row[Any]]] = {}
    query = select(table).order_by(table.c.created_at, table.c.protocol, table.c.from_port, table.c.cidr, table.c.id)
    for rule in rows_among(connection, query, table.c.group_id, group_ids):
        found.setdefault((rule.group_id, rule.is_egress), []).append(rule)
    return found


def _asked(call: Call) -> list[Row[Any]]:
    """The groups that the caller names, or all."""
    ids, names = call.parameters.get("GroupIds") or (), call.parameters.get("GroupNames") or ()
    if not ids and not names:
        return list(call.connection.execute(select(security_group)).all())
    rows = [find_group(call, group_id) for group_id in ids] + [_in_default_vpc(call, name) for name in names]
    return list({row.id: row for row in rows}.values())


def _in_default_vpc(call: Call, name: str) -> Row[Any]:
    vpc_id = default_vpc(call.connection)
    row = None if vpc_id is None else group_of_name(call.connection, vpc_id, name)
    if row is None:
        raise ActionError(
            "InvalidGroup.NotFound",
            f"There is no security group {name!r} in the default VPC. Elsewhere, a group goes by its id.",
        )
    return row


def _asked_vpc(call: Call) -> str:
    vpc_id = call.parameters.get("VpcId")
    if vpc_id is None:
        found = default_vpc(call.connection)
        if found is None:
            raise ActionError(
                "VPCIdNotSpecified", f"There is no VPC {DEFAULT_VPC!r}, which is the default. Name one with VpcId."
            )
        return found
    if call.connection.scalar(select(network.c.vpc_id).where(network.c.vpc_id == vpc_id).limit(1)) is None:
        raise ActionError("InvalidVpcID.NotFound", f"There is no VPC {vpc_id!r}.")
    return str(vpc_id)


def group_of_name(connection: Connection, vpc_id: str, name: str) -> Row[Any] | None:
    """The group of this name in a VPC."""
    table = security_group
    return connection.execute(select(table).where(table.c.vpc_id == vpc_id, table.c.name == name)).one_or_none()


def _read_name(call: Call) -> str:
    name = _read_text("GroupName", call.parameters["GroupName"]).rstrip()
    if not name or name.startswith("sg-"):
        raise ActionError(
            "InvalidParameterValue", f"GroupName {name!r} looks like an id or like nothing. Choose another."
        )
    if name == DEFAULT_GROUP:
        raise ActionError("InvalidParameterValue", f"The group {DEFAULT_GROUP!r} makes itself. Choose another name.")
    return name


def _read_text(parameter: str, text: str) -> str:
    if not _TEXT.fullmatch(text):
        raise ActionError("InvalidParameterValue", f"{parameter} {_TEXT_RULE}; {text!r} does not.")
    return text


def check_group_quota(call: Call) -> None:
    """Whether there may be as many groups as there are now. Raises `SecurityGroupLimitExceeded`."""
    limit = call.settings.quotas.security_groups
    present = call.connection.scalar(select(func.count()).select_from(security_group)) or 0
    if limit and present > limit:
        raise ActionError(
            "SecurityGroupLimitExceeded", f"There would be {present} security groups; the limit is {limit}. Delete one."
        )


def _insert(connection: Connection, vpc_id: str, name: str, description: str, now: float) -> str:
    group_id = new_id("sg")
    connection.execute(
        insert(security_group).values(id=group_id, vpc_id=vpc_id, name=name, description=description, created_at=now)
    )
    connection.execute(
        insert(security_group_rule).values(
            id=new_id("sgr"),
            group_id=group_id,
            is_egress=True,
            protocol=ALL_PROTOCOLS,
            from_port=ANY,
            to_port=ANY,
            cidr="0.0.0.0/0",
            created_at=now,
        )
    )
    return group_id


def remove_group(call: Call, group_id: str) -> None:
    """Remove a group that nothing uses: its rules, their tags, and its part in associations that end or have ended."""
    rules = call.connection.scalars(select(security_group_rule.c.id).where(security_group_rule.c.group_id == group_id))
    for resource_id in (*rules.all(), group_id):
        forget_tags(call, resource_id)
    for table in (association_security_group, security_group_rule):
        call.connection.execute(delete(table).where(table.c.group_id == group_id))
    call.connection.execute(delete(security_group).where(security_group.c.id == group_id))


def _endpoints_with(connection: Connection, group_id: str, *, ending: bool = True) -> list[str]:
    """The endpoints that a group filters, or will with their next association; what is ending only with `ending`."""
    carried = (
        select(association.c.endpoint_id)
        .join(association_security_group, association_security_group.c.association_id == association.c.id)
        .where(association_security_group.c.group_id == group_id, association.c.ended_at.is_(None))
    )
    alive = select(endpoint.c.id, endpoint.c.default_security_group_ids).where(endpoint.c.ended_at.is_(None))
    if not ending:
        carried = carried.where(association.c.status_code != "disassociating")
        alive = alive.where(endpoint.c.status_code != "deleting")
    found = set(connection.scalars(carried))
    found |= {row.id for row in connection.execute(alive) if group_id in row.default_security_group_ids}
    return sorted(found)


def _groups_naming(connection: Connection, group_id: str) -> list[str]:
    """The other groups whose rules are about the members of this one."""
    table = security_group_rule
    query = select(table.c.group_id).where(table.c.referenced_group_id == group_id, table.c.group_id != group_id)
    return sorted(set(connection.scalars(query)))


def _arn(call: Call, group_id: str) -> str:
    return f"arn:aws:ec2:{call.settings.region}:{call.settings.account_id}:security-group/{group_id}"
