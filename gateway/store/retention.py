"""What the store forgets, and when. The daemon calls this every few minutes; nothing else deletes history.

Deletes a bounded number of rows at a time, so that a writer never waits long for it, however much has gathered.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from sqlalchemy import delete, exists, func, select, tuple_

from gateway.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection, Table

    from gateway.store.store import Store

__all__ = ["Retention", "forget"]

_HOUR_S: Final = 3600.0
_DAY_S: Final = 24 * _HOUR_S

ENDED_S: Final = _HOUR_S
"""What has ended can be described for as long: AWS shows terminated connections for 60 minutes."""
IDEMPOTENCY_S: Final = _DAY_S
"""A client token means the same call for as long (the EC2 API's "ensuring idempotency")."""
BATCH: Final = 1000
"""Rows of a table in one transaction."""


class Retention(Protocol):
    """How many days of history are kept, as the configuration says; 0 for ever."""

    @property
    def connection_log_days(self) -> int:
        """Lines of the connection log."""

    @property
    def usage_days(self) -> int:
        """What is accounted by the hour."""

    @property
    def audit_days(self) -> int:
        """Who changed what."""


def forget(store: Store, retention: Retention, now: float) -> dict[str, int]:
    """Delete what is past its time; how many rows of each table, of those that had any. Raises `StoreUnavailableError`.

    May end at any point and be called again.
    """
    forgotten = {table.name: _forget_rows(store, table, past) for table, past in _past_its_time(retention, now)}
    return {name: count for name, count in forgotten.items() if count}


def _past_its_time(retention: Retention, now: float) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Which rows of which table, in the order in which they may go: an endpoint stays while it is referred to."""
    ended = now - ENDED_S
    usage = schema.usage.c
    usage_before = _before(retention.usage_days, now)
    yield schema.connection, schema.connection.c.ended_at < ended
    yield schema.association, schema.association.c.ended_at < ended
    yield schema.endpoint, (schema.endpoint.c.ended_at < ended) & ~_is_referred_to()
    yield schema.connection_event, schema.connection_event.c.at < _before(retention.connection_log_days, now)
    # What was never seen to end has ended when it was last seen. The first condition is for the index.
    yield (
        schema.usage,
        (usage.started_at < usage_before) & (func.coalesce(usage.ended_at, usage.seen_at) < usage_before),
    )
    yield schema.audit, schema.audit.c.at < _before(retention.audit_days, now)
    yield schema.idempotency, schema.idempotency.c.created_at < now - IDEMPOTENCY_S
    yield schema.executed_signature, schema.executed_signature.c.expires_at < now


def _before(days: int, now: float) -> float:
    """The first moment that is still kept."""
    return now - days * _DAY_S if days else -math.inf


def _is_referred_to() -> ColumnElement[bool]:
    """Whether connections or associations of an endpoint are still to be described."""
    endpoint_id = schema.endpoint.c.id
    return exists().where(schema.connection.c.endpoint_id == endpoint_id) | exists().where(
        schema.association.c.endpoint_id == endpoint_id
    )


def _forget_rows(store: Store, table: Table, past: ColumnElement[bool]) -> int:
    forgotten = 0
    while True:
        with store.write(affects_gateways=False) as connection:
            count = _forget_batch(connection, table, past)
        forgotten += count
        if count < BATCH:
            return forgotten


def _forget_batch(connection: Connection, table: Table, past: ColumnElement[bool]) -> int:
    key = list(table.primary_key.columns)
    rows = connection.execute(select(*key).where(past).limit(BATCH)).all()
    if not rows:
        return 0
    connection.execute(delete(table).where(tuple_(*key).in_([tuple(row) for row in rows])))
    if table in (schema.endpoint, schema.association):
        connection.execute(delete(schema.tag).where(schema.tag.c.resource_id.in_([row[0] for row in rows])))
    return len(rows)
