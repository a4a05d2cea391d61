"""Writes what happens to connections into the tables `connection`, `connection_event` and `usage`.

Functions on an open write transaction. They own the mapping from records to rows; when they are called, and what is
done while the database is away, is `mirror`'s. What is written for each client that connects costs as little as it can.

Usage is accounted by the second, so its times are whole seconds, cut as the log's `connection-duration-seconds` cuts
them. An interval that has no end yet was going on at `seen_at`; after a kill that is where it ended.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, case, func, select, update

from gateway.connection_log import AttemptStatus, RecordType, build_loss_line
from gateway.store.many_rows import ManyRows
from gateway.store.schema import connection as connections
from gateway.store.schema import connection_event as events
from gateway.store.schema import endpoint as endpoints
from gateway.store.schema import usage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from gateway.connection_log import ConnectionRecord, Counters
    from gateway.managed.backlog import Batch

__all__ = ["LOST", "end_orphans", "note_seen", "without_known_events", "write_batch"]

LOST: Final = "lost"
"""The outcome of the line in the connection log that says how many lines are missing."""
ORPHAN_MESSAGE: Final = "The gateway ended without closing its books; this is when the connection was last seen."

_IDS_PER_STATEMENT = 5000


def write_batch(transaction: Connection, batch: Batch, *, node: str, now: float) -> frozenset[str]:
    """Bring a batch to the store.

    Returns the connections that have no row, since their endpoint has none yet. Usage and log have theirs even so.
    """
    homeless = _write_states(transaction, batch.states) if batch.states else frozenset[str]()
    if batch.counters:
        _SET_COUNTERS.execute(transaction, [_counters_row(*changed, now) for changed in batch.counters])
    lines = [_loss_row(batch.lost_events, node, now)] if batch.lost_events else []
    lines += map(_event_row, batch.events)
    if lines:
        _ADD_EVENTS.execute(transaction, lines)
    return homeless


def without_known_events(transaction: Connection, batch: Batch) -> Batch:
    """Leave out lines of the log that are there: an attempt to write them may have worked and never been confirmed.

    Everything else in a batch may be written twice.
    """
    if not batch.events:
        return batch
    times = [record.updated_at for record in batch.events]
    lines = select(events.c.connection_id, events.c.outcome).where(events.c.at.between(min(times), max(times)))
    known = {(connection_id, outcome) for connection_id, outcome in transaction.execute(lines)}
    new = (record for record in batch.events if (record.connection_id, _outcome(record)) not in known)
    return replace(batch, events=tuple(new))


def note_seen(transaction: Connection, live: Iterable[str], now: float) -> None:
    """These connections go on."""
    for ids in _pieces(live):
        transaction.execute(
            update(usage).where(usage.c.kind == "connection", usage.c.id.in_(ids)).values(seen_at=_second(now))
        )


def end_orphans(transaction: Connection, node: str, known: Collection[str]) -> tuple[str, ...]:
    """End this node's connections that a former process has left open, when they were last seen. Returns their ids."""
    last_seen = func.coalesce(usage.c.seen_at, connections.c.updated_at)
    is_usage = (usage.c.kind == "connection") & (usage.c.id == connections.c.id)
    left_open = select(connections.c.id, last_seen).outerjoin(usage, is_usage)
    left_open = left_open.where(connections.c.node == node, connections.c.ended_at.is_(None))
    orphans = [(row[0], row[1]) for row in transaction.execute(left_open) if row[0] not in known]
    if orphans:
        rows = [{"its_id": connection_id, "seen": seen} for connection_id, seen in orphans]
        transaction.execute(_END_ORPHAN, rows)
        transaction.execute(_END_USAGE, rows)
    return tuple(connection_id for connection_id, _ in orphans)


_END_ORPHAN = (
    update(connections)
    .where(connections.c.id == bindparam("its_id"))
    .values(status_code="terminated", status_message=ORPHAN_MESSAGE, ended_at=bindparam("seen"))
)
_END_USAGE = (
    update(usage)
    .where(usage.c.kind == "connection", usage.c.id == bindparam("its_id"))
    .values(ended_at=usage.c.seen_at)
)


def _write_states(transaction: Connection, states: Sequence[ConnectionRecord]) -> frozenset[str]:
    found = frozenset(transaction.scalars(_ENDPOINT_IDS))
    at_home = [_connection_row(record) for record in states if record.endpoint_id in found]
    if at_home:
        _UPSERT_CONNECTIONS.execute(transaction, at_home)
    _UPSERT_USAGE.execute(transaction, [_usage_row(record) for record in states])
    return frozenset(record.connection_id for record in states if record.endpoint_id not in found)


# Statements, each with what makes its rows

_COUNTED: Final = ("ingress_bytes", "egress_bytes", "ingress_packets", "egress_packets")
_ENDPOINT_IDS: Final = select(endpoints.c.id)


def _upsert_connections(insert: Any) -> Any:
    """What a connection is called and since when stays; a status that somebody asked for stays until its end."""
    statement = insert(connections)
    new = statement.excluded
    changes = {name: new[name] for name in ("client_ip", "device_ip", "device_port", "updated_at", *_COUNTED)} | {
        "ended_at": func.coalesce(new.ended_at, connections.c.ended_at),
        "status_code": case((new.ended_at.is_not(None), new.status_code), else_=connections.c.status_code),
    }
    return statement.on_conflict_do_update(index_elements=["id"], set_=changes)


_UPSERT_CONNECTIONS: Final = ManyRows(
    (
        *("id", "endpoint_id", "node", "status_code", "common_name", "groups", "client_ip"),
        *("device_ip", "device_port", "transport_protocol", "device_type", "client_version"),
        *("established_at", "updated_at", "ended_at", *_COUNTED),
    ),
    _upsert_connections,
)


def _connection_row(record: ConnectionRecord) -> tuple[Any, ...]:
    return (
        record.connection_id,
        record.endpoint_id,
        record.node,
        "active" if record.ended_at is None else "terminated",
        _text(record.common_name, 255),
        _list_text(record.groups),
        str(record.client_ip or ""),
        record.device_ip,
        record.port,
        record.transport_protocol,
        _text(record.device_type, 64),
        _text(record.client_version, 64),
        _started(record),
        record.updated_at,
        record.ended_at,
        *_counts(record.counters),
    )


def _set_counters(_insert: Any) -> Any:
    changes: dict[str, Any] = {name: bindparam(f"now_{name}") for name in ("updated_at", *_COUNTED)}
    return update(connections).where(connections.c.id == bindparam("its_id")).values(changes)


_SET_COUNTERS: Final = ManyRows(("now_updated_at", *(f"now_{name}" for name in _COUNTED), "its_id"), _set_counters)


def _counters_row(connection_id: str, counters: Counters, now: float) -> tuple[Any, ...]:
    return now, *_counts(counters), connection_id


def _counts(counters: Counters) -> tuple[int, int, int, int]:
    return counters.ingress_bytes, counters.egress_bytes, counters.ingress_packets, counters.egress_packets


def _upsert_usage(insert: Any) -> Any:
    statement = insert(usage)
    changes = {"seen_at": statement.excluded.seen_at, "ended_at": statement.excluded.ended_at}
    return statement.on_conflict_do_update(index_elements=["kind", "id"], set_=changes)


_UPSERT_USAGE: Final = ManyRows(
    ("kind", "id", "endpoint_id", "name", "groups", "started_at", "seen_at", "ended_at"), _upsert_usage
)


def _usage_row(record: ConnectionRecord) -> tuple[Any, ...]:
    started = _second(_started(record))
    seen = max(started, _second(record.updated_at if record.ended_at is None else record.ended_at))
    return (
        "connection",
        record.connection_id,
        record.endpoint_id,
        _text(record.common_name, 1024),
        _list_text(record.groups),
        started,
        seen,
        None if record.ended_at is None else seen,
    )


_ADD_EVENTS: Final = ManyRows(
    ("at", "endpoint_id", "connection_id", "name", "outcome", "record"), lambda insert: insert(events)
)


def _event_row(record: ConnectionRecord) -> tuple[Any, ...]:
    return (
        record.updated_at,
        record.endpoint_id,
        record.connection_id,
        _text(record.common_name, 1024),
        _outcome(record),
        record.as_json(),
    )


def _loss_row(lost: int, node: str, now: float) -> tuple[Any, ...]:
    return now, "", "", "", LOST, build_loss_line(lost, node, now).decode()


# Values


def _outcome(record: ConnectionRecord) -> str:
    if record.record_type is RecordType.RESET:
        return "ended"
    return "successful" if record.attempt_status is AttemptStatus.SUCCESSFUL else "failed"


def _started(record: ConnectionRecord) -> float:
    """Only what was established has a row: a record without its beginning would be a bug, and gets its own time."""
    return record.updated_at if record.started_at is None else record.started_at


def _second(at: float) -> float:
    return float(int(at))


@lru_cache(maxsize=1024)
def _list_text(texts: tuple[str, ...]) -> str:
    """As JSON; many have the same groups."""
    return json.dumps(texts)


def _text(text: str | None, length: int) -> str:
    """What a client says of itself, as both databases take it: PostgreSQL has no NUL, no half of a surrogate pair."""
    if not text:
        return ""
    if not text.isprintable():
        text = text.replace("\0", "").encode(errors="replace").decode()
    return text[:length]


def _pieces(ids: Iterable[str]) -> Iterator[tuple[str, ...]]:
    rest = iter(ids)
    while piece := tuple(islice(rest, _IDS_PER_STATEMENT)):
        yield piece
