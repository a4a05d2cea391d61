"""Tags of what a declaration names: exactly those that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.actions.declaration.changes import Detail
from gateway.actions.tags import create_tags, delete_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.actions.declaration.changes import Work

__all__ = ["put_tags", "tag_details"]


def tag_details(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Detail]:
    """What changes about tags."""
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield Detail(f"tags.{key}", old.get(key), new.get(key))


def put_tags(work: Work, resource_id: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Give an object these tags in the place of those that it has."""
    gone = [{"Key": key} for key in sorted(old.keys() - new.keys())]
    if gone:
        work.run(delete_tags, Resources=[resource_id], Tags=gone)
    changed = [{"Key": key, "Value": value} for key, value in sorted(new.items()) if old.get(key) != value]
    if changed:
        work.run(create_tags, Resources=[resource_id], Tags=changed)
