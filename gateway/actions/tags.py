"""Tags: setting, removing and listing them, whatever they are on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import delete, or_, select, true, tuple_

from gateway.actions.call import ActionError, Call, action
from gateway.actions.listing import paginate, parse_filters
from gateway.actions.objects import find_endpoint, is_visible
from gateway.actions.tagging import put_tags, read_tags, tags_of, tags_shape
from gateway.actions.vpcs import declared_names
from gateway.store.schema import endpoint, network, security_group, security_group_rule, tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column, ColumnElement

__all__ = ["create_tags", "delete_tags", "describe_tags"]

_ENDPOINT: Final = "client-vpn-endpoint"
_NAME: Final = "Name"
_MOST_RESOURCES: Final = 1000
"""In one call; AWS's limit."""
_TAGGABLE: Final[dict[str, tuple[str, Column[str], str]]] = {
    "vpc": ("vpc", network.c.vpc_id, "InvalidVpcID.NotFound"),
    "subnet": ("subnet", network.c.subnet_id, "InvalidSubnetID.NotFound"),
    "sg": ("security-group", security_group.c.id, "InvalidGroup.NotFound"),
    "sgr": ("security-group-rule", security_group_rule.c.id, "InvalidSecurityGroupRuleId.NotFound"),
}
"""By the prefix of its id: what the type of an object is called, where it is found, and the error if it is not."""


@action("CreateTags", changes=True)
def create_tags(call: Call) -> dict[str, Any]:
    """Set tags of objects, or give them other values. Raises `TagLimitExceeded` and what says that one is not there."""
    tags = read_tags(call.parameters["Tags"])
    types = _types(call)
    _begin(call, list(types))
    for resource_id, resource_type in types.items():
        put_tags(call, resource_id, resource_type, tags)
    call.after = _state(call, list(types))
    return {}


@action("DeleteTags", changes=True)
def delete_tags(call: Call) -> dict[str, Any]:
    """Remove tags of objects: those with a key, those with a key and value, or all where none is named."""
    resources = list(_types(call))
    _begin(call, resources)
    call.connection.execute(delete(tag).where(tag.c.resource_id.in_(resources), _named(call)))
    call.after = _state(call, resources)
    return {}


@action("DescribeTags")
def describe_tags(call: Call) -> dict[str, Any]:
    """List the tags of all objects that the caller may know of, the names that configuration files give included."""
    filters = parse_filters(call, ("key", "value", "resource-id", "resource-type"), tagged=True)
    matching = [
        one
        for one in _all(call)
        if filters.match(
            {
                "key": one.key,
                "value": one.value,
                "resource-id": one.resource_id,
                "resource-type": one.resource_type,
            },
            {one.key: one.value},
        )
    ]
    page, token = paginate(call, matching, key=lambda row: (row.resource_id, row.key))
    tags = [
        {"Key": row.key, "Value": row.value, "ResourceId": row.resource_id, "ResourceType": row.resource_type}
        for row in page
    ]
    return {"Tags": tags, "NextToken": token}


class _Tag(NamedTuple):
    resource_id: str
    key: str
    resource_type: str
    value: str


def _all(call: Call) -> Iterator[_Tag]:
    """Every tag of what the caller may know of; a name that a file gives is a tag where there is no other `Name`."""
    alive = select(endpoint.c.id, endpoint.c.name).where(endpoint.c.ended_at.is_(None))
    endpoints = {row.id: row.name for row in call.connection.execute(alive) if is_visible(call, row.id)}
    names = {(endpoint_id, _ENDPOINT): name for endpoint_id, name in endpoints.items() if name} | declared_names(call)
    for row in call.connection.execute(select(tag)):
        if row.resource_type != _ENDPOINT or row.resource_id in endpoints:
            if row.key == _NAME:
                names.pop((row.resource_id, row.resource_type), None)
            yield _Tag(row.resource_id, row.key, row.resource_type, row.value)
    for (resource_id, resource_type), name in names.items():
        yield _Tag(resource_id, _NAME, resource_type, name)


def _types(call: Call) -> dict[str, str]:
    """The type of each object that the call names. Raises `ActionError` where one is not there."""
    resources = call.parameters["Resources"]
    if len(resources) > _MOST_RESOURCES:
        raise ActionError("InvalidParameterValue", f"Resources names {len(resources)}; it may name {_MOST_RESOURCES}.")
    return {resource_id: _type(call, resource_id) for resource_id in resources}


def _type(call: Call, resource_id: str) -> str:
    prefix = resource_id.rpartition("-")[0]
    if prefix == "cvpn-endpoint":
        find_endpoint(call, resource_id)
        return _ENDPOINT
    if prefix not in _TAGGABLE:
        raise ActionError("InvalidID", f"{resource_id!r} is the id of nothing that can have tags.")
    resource_type, column, code = _TAGGABLE[prefix]
    if call.connection.execute(select(column).where(column == resource_id).limit(1)).first() is None:
        raise ActionError(code, f"There is no {resource_type} {resource_id!r}.")
    return resource_type


def _named(call: Call) -> ColumnElement[bool]:
    """Which tags are meant. A key without a value means whatever value it has, an empty value only an empty one."""
    named = call.parameters.get("Tags") or ()
    if not named:
        return true()
    keys = [one.get("Key") or "" for one in named if one.get("Value") is None]
    pairs = [(one.get("Key") or "", one["Value"]) for one in named if one.get("Value") is not None]
    return or_(tag.c.key.in_(keys), tuple_(tag.c.key, tag.c.value).in_(pairs))


def _begin(call: Call, resources: Sequence[str]) -> None:
    """Gateways know nothing of tags; the audit log knows them all."""
    call.affects_gateways = False
    call.before = _state(call, resources)


def _state(call: Call, resources: Sequence[str]) -> dict[str, Any]:
    return {resource_id: tags_shape(tags) for resource_id, tags in tags_of(call, resources).items()}
