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
    from collections.abc import Mapping

    from botocore.model import Shape
    from sqlalchemy import Connection

    from gateway.actions import Call, Caller

__all__ = ["OK", "Entry", "for_the_record", "write_entry"]

OK = "ok"
LONGEST_TEXT = 1024
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
    connection.execute(
        insert(audit).values(
            at=entry.at,
            request_id=entry.request_id,
            caller=entry.caller.id,
            face=entry.caller.face.value,
            source_ip=entry.caller.source_ip,
            action=entry.action,
            resource_id=_resource(entry.parameters, call),
            parameters=entry.parameters,
            before=call and _plain(call.before),
            after=call and _plain(call.after),
            outcome=outcome,
        )
    )


def for_the_record(value: Any, shape: Shape | None) -> Any:
    """What the log keeps of parameters: plain values, without secrets, and of long texts the beginning."""
    if shape is not None and shape.metadata.get("sensitive"):
        return HIDDEN
    if isinstance(shape, StructureShape):
        return {name: for_the_record(member, shape.members.get(name)) for name, member in value.items()}
    if isinstance(shape, ListShape):
        return [for_the_record(item, shape.member) for item in value]
    return _plain(value)


def _resource(parameters: Mapping[str, Any], call: Call | None) -> str:
    if call is not None and call.resource_id:
        return call.resource_id
    resources = parameters.get("Resources") or [""]
    return str(parameters.get("ClientVpnEndpointId") or resources[0])[:64]


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
