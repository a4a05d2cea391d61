"""Rules of security groups that become other rules, or are described in other words, and keep their ids and tags.

A rule is replaced as a whole: what a call leaves out of it is not there afterwards. All of a call takes place at once,
so rules can also change places. Gateways apply it to connections that are open already.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, update

from gateway.actions.call import ActionError, Call, action
from gateway.actions.ip_permissions import Permission, as_permission, read_description, read_permissions
from gateway.actions.security_group_rules import (
    group_finder,
    present_rules,
    read_present,
    rule_by_id,
    rule_by_permission,
)
from gateway.actions.security_groups import group_shapes, named_group
from gateway.store.schema import security_group_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

__all__ = ["describe_egress", "describe_ingress", "modify_rules"]


@action("ModifySecurityGroupRules", changes=True)
def modify_rules(call: Call) -> dict[str, Any]:
    """Let rules of a group, of either direction, allow something else.

    Beyond AWS, the other side may become one of another kind. Raises `InvalidSecurityGroupRuleId.NotFound` for another
    group's, `InvalidPermission.Duplicate` where two would be the same, and what `read_permissions` raises.
    """
    group = named_group(call)
    directions = [present_rules(call, group.id, is_egress) for is_egress in (True, False)]
    by_id = {row.id: row for rules in directions for row in rules.values()}
    changes = _read_changes(call, group, by_id)
    for rules in directions:
        _check_distinct(group.id, rules, changes)
    call.resource_id = group.id
    (call.before,) = group_shapes(call, [group])
    _replace(
        call,
        [
            by_id[rule_id]._asdict() | asdict(permission) | {"description": description}
            for rule_id, (permission, description) in changes.items()
        ],
    )
    (call.after,) = group_shapes(call, [group])
    return {"Return": True}


@action("UpdateSecurityGroupRuleDescriptionsEgress", changes=True)
def describe_egress(call: Call) -> dict[str, Any]:
    """Give egress rules other descriptions, or none.

    Raises `InvalidPermission.NotFound` and `InvalidSecurityGroupRuleId.NotFound`.
    """
    return _describe(call, is_egress=True)


@action("UpdateSecurityGroupRuleDescriptionsIngress", changes=True)
def describe_ingress(call: Call) -> dict[str, Any]:
    """Give ingress rules other descriptions, or none. Raises the same."""
    return _describe(call, is_egress=False)


def _read_changes(call: Call, group: Row[Any], by_id: Mapping[str, Row[Any]]) -> dict[str, tuple[Permission, str]]:
    """What rules are to allow, and how they are described, by their ids."""
    changes: dict[str, tuple[Permission, str]] = {}
    for one in call.parameters["SecurityGroupRules"]:
        rule_id = rule_by_id(by_id, group.id, one["SecurityGroupRuleId"]).id
        if rule_id in changes:
            raise ActionError("InvalidParameterValue", f"The rule {rule_id} is there twice. Name it once.")
        wanted = as_permission(one.get("SecurityGroupRule") or {})
        (changes[rule_id],) = read_permissions([wanted], group_finder(call, group)).items()
    if not changes:
        raise ActionError("MissingParameter", "SecurityGroupRules is empty. Name at least one rule.")
    return changes


def _check_distinct(
    group_id: str, rules: Mapping[Permission, Row[Any]], changes: Mapping[str, tuple[Permission, str]]
) -> None:
    """Whether the rules of one direction will differ from each other."""
    counted = Counter(changes[row.id][0] if row.id in changes else permission for permission, row in rules.items())
    for permission, count in counted.items():
        if count > 1:
            raise ActionError("InvalidPermission.Duplicate", f"{group_id} would have this rule twice: {permission}.")


def _replace(call: Call, columns: list[dict[str, Any]]) -> None:
    """Put rules in the place of those with their ids: one after the other, they might pass through equal ones."""
    by_id = delete(security_group_rule).where(security_group_rule.c.id == bindparam("rule_id"))
    call.connection.execute(by_id, [{"rule_id": rule["id"]} for rule in columns])
    call.connection.execute(insert(security_group_rule), columns)


def _describe(call: Call, *, is_egress: bool) -> dict[str, Any]:
    group = named_group(call)
    texts = _new_texts(call, group, is_egress)
    call.resource_id = group.id
    (call.before,) = group_shapes(call, [group])
    changed = update(security_group_rule).where(security_group_rule.c.id == bindparam("rule_id"))
    call.connection.execute(
        changed.values(description=bindparam("text")),
        [{"rule_id": rule_id, "text": text} for rule_id, text in texts.items()],
    )
    (call.after,) = group_shapes(call, [group])
    return {"Return": True}


def _new_texts(call: Call, group: Row[Any], is_egress: bool) -> dict[str, str]:
    """The descriptions that the caller gives, by the ids of the rules."""
    named = read_present(call, group)
    given = call.parameters.get("SecurityGroupRuleDescriptions") or ()
    if named and given:
        raise ActionError(
            "InvalidParameterCombination",
            "SecurityGroupRuleDescriptions and IpPermissions name rules both. Use one of them.",
        )
    if not named and not given:
        raise ActionError(
            "MissingParameter", "SecurityGroupRuleDescriptions or IpPermissions is missing: what to describe."
        )
    present = present_rules(call, group.id, is_egress)
    if named:
        return {rule_by_permission(present, group.id, one).id: text for one, text in named.items()}
    by_id = {row.id: row for row in present.values()}
    return {
        rule_by_id(by_id, group.id, one.get("SecurityGroupRuleId") or "").id: read_description(one) for one in given
    }
