"""Tags of objects, for the actions that make, list and delete tagged objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from gateway.actions.call import ActionError, Call
from gateway.store.schema import tag
from gateway.store.statements import rows_among

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["forget_tags", "put_tags", "read_tags", "specified_tags", "tags_of", "tags_shape"]

_MAX_KEY = 128
_MAX_VALUE = 256
_RESERVED = "aws:"


def tags_of(call: Call, resource_ids: Collection[str]) -> dict[str, dict[str, str]]:
    """The tags of each of these objects, by key; every id is in it."""
    found: dict[str, dict[str, str]] = {resource_id: {} for resource_id in resource_ids}
    query = select(tag.c.resource_id, tag.c.key, tag.c.value)
    for row in rows_among(call.connection, query, tag.c.resource_id, found):
        found[row.resource_id][row.key] = row.value
    return found


def tags_shape(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as a reply has them, in the order of their keys."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def read_tags(given: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Check tags as a call has them. Raises `InvalidParameterValue`, `InvalidParameter` for a key given twice."""
    tags: dict[str, str] = {}
    for one in given:
        key, value = one.get("Key") or "", one.get("Value") or ""
        if not 1 <= len(key) <= _MAX_KEY:
            raise ActionError("InvalidParameterValue", f"A tag's key has 1 to {_MAX_KEY} characters; {key!r} does not.")
        if len(value) > _MAX_VALUE:
            raise ActionError(
                "InvalidParameterValue", f"A tag's value has up to {_MAX_VALUE} characters; that of {key!r} has more."
            )
        if key.lower().startswith(_RESERVED):
            raise ActionError("InvalidParameterValue", f"Tags that begin with {_RESERVED} are reserved; {key!r} does.")
        if key in tags:
            raise ActionError("InvalidParameter", f"The tag {key!r} is there twice.")
        tags[key] = value
    return tags


def specified_tags(call: Call, resource_type: str) -> dict[str, str]:
    """The tags in `TagSpecifications` of a call that makes one object. Raises `InvalidParameterValue`."""
    given: list[Mapping[str, str]] = []
    for specification in call.parameters.get("TagSpecifications") or ():
        named = specification.get("ResourceType")
        if named != resource_type:
            raise ActionError(
                "InvalidParameterValue", f"Tags here are for a {resource_type}, not for {named or 'nothing'}."
            )
        given += specification.get("Tags") or ()
    return read_tags(given)


def put_tags(call: Call, resource_id: str, resource_type: str, tags: Mapping[str, str]) -> None:
    """Give an object these tags; it keeps its others. Raises `TagLimitExceeded`."""
    if not tags:
        return
    _delete(call, resource_id, tags)
    limit = call.settings.quotas.tags_per_resource
    kept = call.connection.execute(
        select(func.count()).select_from(tag).where(tag.c.resource_id == resource_id)
    ).scalar_one()
    if limit and kept + len(tags) > limit:
        raise ActionError(
            "TagLimitExceeded", f"{resource_id} would have {kept + len(tags)} tags; the limit is {limit}."
        )
    call.connection.execute(
        insert(tag),
        [
            {"resource_id": resource_id, "resource_type": resource_type, "key": key, "value": value}
            for key, value in tags.items()
        ],
    )


def forget_tags(call: Call, resource_id: str) -> None:
    """Remove all tags of an object that is gone."""
    call.connection.execute(delete(tag).where(tag.c.resource_id == resource_id))


def _delete(call: Call, resource_id: str, keys: Iterable[str]) -> None:
    call.connection.execute(delete(tag).where(tag.c.resource_id == resource_id, tag.c.key.in_(list(keys))))
