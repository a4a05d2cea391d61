"""Security groups of a declaration: made, given exactly the rules of the file, and removed where nothing needs them.

Owns the way from a rule in a file to one of the API. Must not know endpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from gateway.actions.call import ActionError
from gateway.actions.declaration.changes import Change, Detail, Kind, refuse
from gateway.actions.declaration.tags import put_tags, tag_details
from gateway.actions.ip_permissions import Permission, read_permissions
from gateway.actions.security_group_rules import authorize_egress, authorize_ingress, revoke_egress, revoke_ingress
from gateway.actions.security_groups import (
    DEFAULT_GROUP,
    add_group,
    check_may_change,
    check_unused,
    default_group,
    remove_group,
)
from gateway.store.schema import security_group
from policy import ALL_PROTOCOLS, ANY, PROTOCOL_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.actions.declaration.changes import Work
    from gateway.actions.declaration.state import HeldGroup, State
    from gateway.config.declaration import SecurityGroup, SecurityGroupRule

__all__ = ["GroupIds", "prune_groups", "put_groups"]

_EVERYTHING = Permission(ALL_PROTOCOLS, ANY, ANY, "0.0.0.0/0", "")
"""What a new group lets out until it is told otherwise."""


class GroupIds:
    """The ids of security groups by VPC and name: those of the store, and those that the file adds."""

    def __init__(self, work: Work, state: State) -> None:
        self._work = work
        self._vpc_ids = state.vpc_ids
        self._ids = {key: str(group.row.id) for key, group in state.groups.items()}

    def add(self, vpc: str, name: str, group_id: str) -> None:
        """Take note of a new one."""
        self._ids[vpc, name] = group_id

    def find(self, vpc: str, name: str, key_path: str) -> str:
        """The id of a group; a VPC's default group is made where it is missing. Raises `ActionError`."""
        if name == DEFAULT_GROUP and vpc in self._vpc_ids:
            return default_group(self._work.call.connection, self._vpc_ids[vpc], self._work.call.now)
        if (vpc, name) not in self._ids:
            known = ", ".join(f'"{other}"' for of_vpc, other in sorted(self._ids) if of_vpc == vpc) or "none"
            sentence = f'There is no security group "{name}" in the VPC "{vpc}". There are: {known}.'
            raise refuse(key_path, sentence, "InvalidGroup.NotFound")
        return self._ids[vpc, name]


def put_groups(work: Work, state: State, wanted: Sequence[SecurityGroup]) -> GroupIds:
    """Make the groups of a file what it says, all of them before their rules, which may name others.

    Whether there may be as many is for the end, when those have gone that are to go.
    """
    ids = GroupIds(work, state)
    rules: dict[str, tuple[dict[Permission, str], dict[Permission, str]]] = {}
    for index, group in enumerate(wanted):
        key_path = f"security_group[{index}]"
        held = state.groups.get((group.vpc, group.name))
        if held is None:
            ids.add(group.vpc, group.name, _create(work, state, group, key_path))
            rules[key_path] = {_EVERYTHING: ""}, {}
        else:
            _modify(work, held.declared, group, held.row.id, key_path)
            rules[key_path] = _read(held.declared.egress, key_path), _read(held.declared.ingress, key_path)
    for index, group in enumerate(wanted):
        key_path = f"security_group[{index}]"
        is_new = (group.vpc, group.name) not in state.groups
        for is_egress, present in zip((True, False), rules[key_path], strict=True):
            _put_rules(work, ids, group, key_path, present, is_egress=is_egress, is_new=is_new)
    return ids


def prune_groups(work: Work, state: State, wanted: Sequence[SecurityGroup]) -> None:
    """Delete the groups that a file does not name; what something else still uses stays. They may name each other."""
    named = {(group.vpc, group.name) for group in wanted}
    unnamed = [held for key, held in sorted(state.groups.items()) if key not in named]
    going = {held.row.id: held for held in unnamed if held.declared.name != DEFAULT_GROUP}
    while (found := _first_to_stay(work, going)) is not None:
        held, why = found
        work.notes.append(f"The {_what(held.declared)} stays: {why}")
        del going[held.row.id]
    for group_id, held in going.items():
        remove_group(work.call, group_id)
        work.changes.append(Change(Kind.DELETE, _what(held.declared)))


def _first_to_stay(work: Work, going: Mapping[str, HeldGroup]) -> tuple[HeldGroup, str] | None:
    """One of the groups that cannot go, even where all the others do, and why."""
    for group_id, held in going.items():
        try:
            check_may_change(work.call, group_id)
            check_unused(work.call, held.row, going=going)
        except ActionError as error:
            return held, error.message
    return None


def _what(group: SecurityGroup) -> str:
    return f'security group "{group.name}" of "{group.vpc}"'


def _create(work: Work, state: State, group: SecurityGroup, key_path: str) -> str:
    details = (*_details({}, {"description": group.description or group.name}), *tag_details({}, group.tags))
    with work.change(Change(Kind.CREATE, _what(group), key_path, details)):
        vpc_id = state.vpc_ids.get(group.vpc)
        if vpc_id is None:
            known = ", ".join(f'"{name}"' for name in sorted(state.vpc_ids)) or "none"
            sentence = f'There is no VPC "{group.vpc}". There are: {known}. Networks of hosts make them.'
            raise ActionError("InvalidVpcID.NotFound", sentence)
        description = group.description or group.name
        if group.name == DEFAULT_GROUP:
            group_id = default_group(work.call.connection, vpc_id, work.call.now)
            _describe(work, group_id, description)
        else:
            reply = work.run(add_group, GroupName=group.name, Description=description, VpcId=vpc_id)
            group_id = reply["GroupId"]
        put_tags(work, group_id, {}, group.tags)
        return group_id


def _modify(work: Work, held: SecurityGroup, wanted: SecurityGroup, group_id: str, key_path: str) -> None:
    description = wanted.description or wanted.name
    details = (
        *_details({"description": held.description}, {"description": description}),
        *tag_details(held.tags, wanted.tags),
    )
    if details:
        with work.change(Change(Kind.MODIFY, _what(wanted), key_path, details)):
            _describe(work, group_id, description)
            put_tags(work, group_id, held.tags, wanted.tags)


def _describe(work: Work, group_id: str, description: str) -> None:
    work.call.connection.execute(
        update(security_group).where(security_group.c.id == group_id).values(description=description)
    )


def _details(old: Mapping[str, str], new: Mapping[str, str]) -> list[Detail]:
    return [Detail(key, old.get(key), value) for key, value in new.items() if old.get(key) != value]


def _put_rules(
    work: Work,
    ids: GroupIds,
    group: SecurityGroup,
    key_path: str,
    present: dict[Permission, str],
    *,
    is_egress: bool,
    is_new: bool,
) -> None:
    """Revoke what the file does not have, then authorise what the group does not have."""
    direction = "egress" if is_egress else "ingress"
    revoke, authorize = (revoke_egress, authorize_egress) if is_egress else (revoke_ingress, authorize_ingress)
    declared = group.egress if is_egress else group.ingress
    wanted = _read(declared, f"{key_path}.{direction}")
    group_id = ids.find(group.vpc, group.name, key_path)
    for permission, description in present.items():
        if wanted.get(permission) == description:
            continue
        line = Change(Kind.DELETE, f"{_what(group)}: {direction} {_shown(permission)}")
        if permission in wanted or is_new:  # it is another line's
            work.run(revoke, GroupId=group_id, IpPermissions=[_shape(permission, ids, group.vpc, description)])
            continue
        with work.change(line):
            work.run(revoke, GroupId=group_id, IpPermissions=[_shape(permission, ids, group.vpc, description)])
    for index, (permission, description) in enumerate(wanted.items()):
        if present.get(permission) == description:
            continue
        details = tuple(_details({"description": present.get(permission, "")}, {"description": description}))
        kind = Kind.MODIFY if permission in present and not is_new else Kind.CREATE
        path = f"{key_path}.{direction}[{index}]"
        with work.change(Change(kind, f"{_what(group)}: {direction} {_shown(permission)}", path, details)):
            shape = _shape(permission, ids, group.vpc, description)
            work.run(authorize, GroupId=group_id, IpPermissions=[shape])


def _read(rules: Sequence[SecurityGroupRule], key_path: str) -> dict[Permission, str]:
    """What rules allow, with a group's name in the place of its id. Raises `ActionError`."""
    found: dict[Permission, str] = {}
    for index, rule in enumerate(rules):
        try:
            read = read_permissions([_given(rule)], lambda pair: str(pair["GroupId"]))
        except ActionError as error:
            raise refuse(f"{key_path}[{index}]", error.message, error.code) from error
        for permission, description in read.items():
            if permission in found:
                raise refuse(f"{key_path}[{index}]", "The same rule stands above it. Remove one.")
            found[permission] = description
    return found


def _given(rule: SecurityGroupRule) -> dict[str, Any]:
    """A rule as a caller of the API would write it."""
    protocol = ALL_PROTOCOLS if rule.protocol == "all" else rule.protocol
    is_icmp = protocol.lower() in {"icmp", "1"}
    first, last = rule.from_port, rule.to_port
    if first is None:
        first, last = (ANY, ANY) if is_icmp else (0, 65535)
    elif last is None:
        last = ANY if is_icmp else first
    other = {"IpRanges": [{"CidrIp": str(rule.cidr), "Description": rule.description}]}
    if rule.group is not None:
        other = {"UserIdGroupPairs": [{"GroupId": rule.group, "Description": rule.description}]}
    return {"IpProtocol": protocol, "FromPort": first, "ToPort": last, **other}


def _shape(permission: Permission, ids: GroupIds, vpc: str, description: str) -> dict[str, Any]:
    ports = {"FromPort": permission.from_port, "ToPort": permission.to_port}
    shape: dict[str, Any] = {"IpProtocol": permission.protocol, **ports}
    if permission.cidr:
        return shape | {"IpRanges": [{"CidrIp": permission.cidr, "Description": description}]}
    group_id = ids.find(vpc, permission.referenced_group_id, "security_group")
    return shape | {"UserIdGroupPairs": [{"GroupId": group_id, "Description": description}]}


def _shown(permission: Permission) -> str:
    """As `tcp 443 to 10.20.0.0/24`."""
    protocol = "all traffic" if permission.protocol == ALL_PROTOCOLS else permission.protocol
    first, last = permission.from_port, permission.to_port
    is_every = permission.protocol not in PROTOCOL_NUMBERS or (first, last) in {(ANY, ANY), (0, 65535)}
    ports = "" if is_every else f" {first}" if first == last else f" {first}-{last}"
    other = permission.cidr or f'the group "{permission.referenced_group_id}"'
    return f"{protocol}{ports}, {other}"
