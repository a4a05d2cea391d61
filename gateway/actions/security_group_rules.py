"""The rules of security groups: allowed, revoked, listed.

Owns the rows of `security_group_rule`. A rule is what it allows: the same cannot be there twice, whatever its
description. Gateways apply a change to connections that are open already.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, select

from gateway.actions.call import ActionError, Call, action
from gateway.actions.ip_permissions import Permission, named_permissions, read_permissions
from gateway.actions.listing import matching_shapes, paginate
from gateway.actions.objects import new_id
from gateway.actions.security_groups import find_group, group_of_name, group_shapes, named_group
from gateway.actions.tagging import forget_tags, put_tags, specified_tags, tags_of, tags_shape
from gateway.store.schema import security_group_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Row

__all__ = [
    "authorize_egress",
    "authorize_ingress",
    "describe_rules",
    "group_finder",
    "present_rules",
    "read_present",
    "revoke_egress",
    "revoke_ingress",
    "rule_by_id",
    "rule_by_permission",
]

_RESOURCE_TYPE = "security-group-rule"
_RULE_ID = re.compile(r"sgr-[0-9a-zA-Z]+")
_FILTERS: Final = {"group-id": "GroupId", "security-group-rule-id": "SecurityGroupRuleId"}


@action("AuthorizeSecurityGroupEgress", changes=True)
def authorize_egress(call: Call) -> dict[str, Any]:
    """Let clients open more connections. Raises `InvalidPermission.Duplicate`, `RulesPerSecurityGroupLimitExceeded`."""
    return _authorize(call, is_egress=True)


@action("AuthorizeSecurityGroupIngress", changes=True)
def authorize_ingress(call: Call) -> dict[str, Any]:
    """Let target networks open more connections to clients that may be reached. Raises the same."""
    return _authorize(call, is_egress=False)


@action("RevokeSecurityGroupEgress", changes=True)
def revoke_egress(call: Call) -> dict[str, Any]:
    """Take egress rules back. Raises `InvalidPermission.NotFound`, `InvalidSecurityGroupRuleId.NotFound`."""
    return _revoke(call, is_egress=True)


@action("RevokeSecurityGroupIngress", changes=True)
def revoke_ingress(call: Call) -> dict[str, Any]:
    """Take ingress rules back. Raises the same."""
    return _revoke(call, is_egress=False)


@action("DescribeSecurityGroupRules")
def describe_rules(call: Call) -> dict[str, Any]:
    """List rules of all groups. Raises `InvalidSecurityGroupRuleId.Malformed` and `.NotFound`."""
    asked = call.parameters.get("SecurityGroupRuleIds")
    if asked:
        rows = [_find_rule(call, rule_id) for rule_id in dict.fromkeys(asked)]
    else:
        rows = list(call.connection.execute(select(security_group_rule)).all())
    shapes = matching_shapes(call, _rule_shapes(call, rows), _FILTERS, tagged=True)
    page, token = paginate(call, shapes, key=lambda shape: shape["SecurityGroupRuleId"])
    return {"SecurityGroupRules": page, "NextToken": token}


def _authorize(call: Call, *, is_egress: bool) -> dict[str, Any]:
    group = named_group(call)
    wanted = read_permissions(named_permissions(call.parameters), group_finder(call, group))
    if not wanted:
        raise ActionError("MissingParameter", "IpPermissions is missing: what the rule is to allow.")
    tags = specified_tags(call, _RESOURCE_TYPE)
    present = present_rules(call, group.id, is_egress)
    _check_new(call, group.id, wanted, present)
    call.resource_id = group.id
    (call.before,) = group_shapes(call, [group])
    ids = [_insert(call, group.id, is_egress, permission, wanted[permission]) for permission in wanted]
    for rule_id in ids:
        put_tags(call, rule_id, _RESOURCE_TYPE, tags)
    (call.after,) = group_shapes(call, [group])
    return {"Return": True, "SecurityGroupRules": _rule_shapes(call, [_find_rule(call, rule_id) for rule_id in ids])}


def _revoke(call: Call, *, is_egress: bool) -> dict[str, Any]:
    group = named_group(call)
    rows = _revoked(call, group, is_egress)
    shapes = [_revoked_shape(row) for row in rows]
    (call.before,) = group_shapes(call, [group])
    call.connection.execute(delete(security_group_rule).where(security_group_rule.c.id.in_([row.id for row in rows])))
    for row in rows:
        forget_tags(call, row.id)
    call.resource_id = group.id
    (call.after,) = group_shapes(call, [group])
    return {"Return": True, "RevokedSecurityGroupRules": shapes, "UnknownIpPermissions": []}


def _revoked(call: Call, group: Row[Any], is_egress: bool) -> list[Row[Any]]:
    """The rows of the rules that the caller names, by their ids or by what they allow."""
    ids = call.parameters.get("SecurityGroupRuleIds") or ()
    named = read_present(call, group)
    if ids and named:
        raise ActionError(
            "InvalidParameterCombination", "SecurityGroupRuleIds and IpPermissions name rules both. Use one of them."
        )
    if not ids and not named:
        raise ActionError("MissingParameter", "SecurityGroupRuleIds or IpPermissions is missing: what to revoke.")
    present = present_rules(call, group.id, is_egress)
    if ids:
        of_direction = {row.id: row for row in present.values()}
        return [rule_by_id(of_direction, group.id, rule_id) for rule_id in dict.fromkeys(ids)]
    return [rule_by_permission(present, group.id, permission) for permission in named]


def read_present(call: Call, group: Row[Any]) -> dict[Permission, str]:
    """The rules of a group that a call names by what they allow, with the descriptions that it gives them.

    Raises what `read_permissions` raises, and `InvalidPermission.NotFound` for those that no group here can have.
    """
    named = named_permissions(call.parameters)
    return read_permissions(named, group_finder(call, group), code_elsewhere="InvalidPermission.NotFound")


def rule_by_permission(present: Mapping[Permission, Row[Any]], group_id: str, permission: Permission) -> Row[Any]:
    """The rule that allows this. Raises `InvalidPermission.NotFound`."""
    if permission not in present:
        raise ActionError("InvalidPermission.NotFound", f"{group_id} has no such rule: {permission}.")
    return present[permission]


def rule_by_id(rules: Mapping[str, Row[Any]], group_id: str, rule_id: str) -> Row[Any]:
    """One of these rules of a group. Raises `InvalidSecurityGroupRuleId.Malformed` and `.NotFound`."""
    _check_rule_id(rule_id)
    if rule_id not in rules:
        raise ActionError("InvalidSecurityGroupRuleId.NotFound", f"{group_id} has no rule {rule_id!r} of this kind.")
    return rules[rule_id]


def group_finder(call: Call, group: Row[Any]) -> Callable[[Mapping[str, Any]], str]:
    """Finds the group on the other side of a rule: one of the same VPC, by id or by name."""

    def find(pair: Mapping[str, Any]) -> str:
        if pair.get("UserId") not in (None, "", call.settings.account_id):
            raise ActionError("InvalidParameterValue", f"UserId: groups here are all of {call.settings.account_id}.")
        named = pair.get("GroupId") or pair.get("GroupName") or ""
        by_id = bool(pair.get("GroupId"))
        found = find_group(call, named) if by_id else group_of_name(call.connection, group.vpc_id, named)
        if found is None or found.vpc_id != group.vpc_id:
            raise ActionError("InvalidGroup.NotFound", f"There is no security group {named!r} in {group.vpc_id}.")
        return str(found.id)

    return find


def present_rules(call: Call, group_id: str, is_egress: bool) -> dict[Permission, Row[Any]]:
    """The rules of a group in one direction, by what they allow."""
    table = security_group_rule
    rows = call.connection.execute(
        select(table).where(table.c.group_id == group_id, table.c.is_egress == is_egress).order_by(table.c.id)
    )
    return {
        Permission(row.protocol, row.from_port, row.to_port, row.cidr, row.referenced_group_id): row for row in rows
    }


def _check_new(
    call: Call, group_id: str, wanted: Mapping[Permission, str], present: Mapping[Permission, Row[Any]]
) -> None:
    for permission in wanted:
        if permission in present:
            raise ActionError(
                "InvalidPermission.Duplicate",
                f"{group_id} has this rule already, as {present[permission].id}: {permission}.",
            )
    limit, count = call.settings.quotas.rules_per_security_group, len(present) + len(wanted)
    if limit and count > limit:
        raise ActionError(
            "RulesPerSecurityGroupLimitExceeded",
            f"{group_id} would have {count} rules in this direction; the limit is {limit}.",
        )


def _insert(call: Call, group_id: str, is_egress: bool, permission: Permission, description: str) -> str:
    rule_id = new_id("sgr")
    call.connection.execute(
        insert(security_group_rule).values(
            id=rule_id,
            group_id=group_id,
            is_egress=is_egress,
            protocol=permission.protocol,
            from_port=permission.from_port,
            to_port=permission.to_port,
            cidr=permission.cidr,
            referenced_group_id=permission.referenced_group_id,
            description=description,
            created_at=call.now,
        )
    )
    return rule_id


def _find_rule(call: Call, rule_id: str) -> Row[Any]:
    _check_rule_id(rule_id)
    table = security_group_rule
    row = call.connection.execute(select(table).where(table.c.id == rule_id)).one_or_none()
    if row is None:
        raise ActionError("InvalidSecurityGroupRuleId.NotFound", f"There is no security group rule {rule_id!r}.")
    return row


def _check_rule_id(rule_id: str) -> None:
    if not _RULE_ID.fullmatch(rule_id):
        raise ActionError(
            "InvalidSecurityGroupRuleId.Malformed", f"{rule_id!r} is no rule's id. One begins with `sgr-`."
        )


def _rule_shapes(call: Call, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    tags = tags_of(call, [row.id for row in rows])
    account_id = call.settings.account_id
    return [
        {
            "SecurityGroupRuleId": row.id,
            "SecurityGroupRuleArn": f"arn:aws:ec2:{call.settings.region}:{account_id}:{_RESOURCE_TYPE}/{row.id}",
            "GroupOwnerId": account_id,
            **_traffic_shape(row),
            **({"CidrIpv4": row.cidr} if row.cidr else {"ReferencedGroupInfo": _referenced(row, account_id)}),
            "Tags": tags_shape(tags[row.id]),
        }
        for row in rows
    ]


def _revoked_shape(row: Row[Any]) -> dict[str, Any]:
    other = {"CidrIpv4": row.cidr} if row.cidr else {"ReferencedGroupId": row.referenced_group_id}
    return {"SecurityGroupRuleId": row.id, **_traffic_shape(row), **other}


def _traffic_shape(row: Row[Any]) -> dict[str, Any]:
    return {
        "GroupId": row.group_id,
        "IsEgress": row.is_egress,
        "IpProtocol": row.protocol,
        "FromPort": row.from_port,
        "ToPort": row.to_port,
    } | ({"Description": row.description} if row.description else {})


def _referenced(row: Row[Any], account_id: str) -> dict[str, str]:
    return {"GroupId": row.referenced_group_id, "UserId": account_id}
