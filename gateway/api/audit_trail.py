"""The audit log's entries: who tried to change what, from where, and what came of it.

Secrets do not get into it: the model marks shapes as sensitive, and of long texts only the beginning is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, StructureShape
from sqlalchemy import insert

from gateway.store.schema import audit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botocore.model import Shape
    from sqlalchemy import Connection

    from gateway.actions import Call, Caller

__all__ = ["OK", "Entry", "for_the_record", "rows_of", "write_entry"]

OK = "ok"
LONGEST_TEXT = 1024
LONGEST_ID = 64
HIDDEN = "(secret)"


@dataclass(slots=True)
class Entry:
    """One attempt to change something, completed while it goes on."""

    at: float
    """Unix seconds."""
    request_id: str
    caller: Caller
    action: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """By `for_the_record`; empty until they are known to be well-formed."""


def write_entry(connection: Connection, entry: Entry, outcome: str, call: Call | None = None) -> None:
    """Add an entry; `call` has what the action said about itself."""
    connection.execute(insert(audit), rows_of(entry, outcome, call))


def rows_of(entry: Entry, outcome: str, call: Call | None = None) -> list[dict[str, Any]]:
    """The rows of an entry: one for each object that it is about, since not everybody may know of all of them."""
    return [
        {
            "at": entry.at,
            "request_id": entry.request_id,
            "caller": entry.caller.id,
            "face": entry.caller.face.value,
            "source_ip": entry.caller.source_ip,
            "action": entry.action,
            "resource_id": resource_id[:LONGEST_ID],
            "parameters": parameters,
            "before": _plain(before),
            "after": _plain(after),
            "outcome": outcome,
        }
        for resource_id, parameters, before, after in _parts(entry.parameters, call)
    ]


def for_the_record(value: Any, shape: Shape | None) -> Any:
    """What the log keeps of parameters: plain values, without secrets, and of long texts the beginning."""
    if shape is not None and shape.metadata.get("sensitive"):
        return HIDDEN
    if isinstance(shape, StructureShape):
        return {name: for_the_record(member, shape.members.get(name)) for name, member in value.items()}
    if isinstance(shape, ListShape):
        return [for_the_record(item, shape.member) for item in value]
    return _plain(value)


def _parts(parameters: Mapping[str, Any], call: Call | None) -> Iterator[tuple[str, Mapping[str, Any], Any, Any]]:
    """What each row is about, and its share of parameters and objects."""
    before, after = (call.before, call.after) if call is not None else (None, None)
    if call is not None and call.resource_id:
        yield call.resource_id, parameters, before, after
    elif resources := parameters.get("Resources"):
        for one in dict.fromkeys(resources):
            yield one, {**parameters, "Resources": [one]}, *(part and part.get(one) for part in (before, after))
    else:
        yield str(parameters.get("ClientVpnEndpointId", "")), parameters, before, after


def _plain(value: Any) -> Any:
    """A value that JSON has."""
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"({len(value)} octets)"
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}… ({len(value)} characters)"
    return value
