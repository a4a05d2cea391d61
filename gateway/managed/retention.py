"""Removes from the store what nobody may ask for any more: ended connections, and old lines of log, accounts and audit.

It deletes in small transactions, so that nobody waits for it; several gateways may do so at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog
import trio
from sqlalchemy import delete, select, tuple_

from gateway.managed.backlog import ENDED_FOR_S
from gateway.store import StoreError
from gateway.store.schema import audit, connection, connection_event, usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from sqlalchemy import ColumnElement, Table

    from gateway.config.settings import StoreSettings
    from gateway.store import Store

__all__ = ["Retention", "remove_old"]

EVERY_S: Final = 600.0
ROWS: Final = 2000
"""In one transaction: some ten milliseconds."""
DAY_S: Final = 86_400.0

logger = structlog.get_logger("store")


class Retention:
    """The task that looks from time to time."""

    def __init__(self, store: Store, settings: StoreSettings, *, unix_time: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._unix_time = unix_time

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        while True:
            try:
                await trio.to_thread.run_sync(
                    remove_old, self._store, self._settings, self._unix_time(), abandon_on_cancel=True
                )
            except StoreError as error:
                logger.warning("what is old stays in the store for now", error=str(error))
            await trio.sleep(EVERY_S)


def remove_old(store: Store, settings: StoreSettings, now: float) -> int:
    """Remove what is too old at `now`; 0 days are for ever. How many rows that were. Blocks. Raises `StoreError`."""
    removed = _remove(store, connection, connection.c.ended_at < now - ENDED_FOR_S)
    if settings.connection_log_days:
        removed += _remove(store, connection_event, connection_event.c.at < now - settings.connection_log_days * DAY_S)
    if settings.usage_days:
        before = now - settings.usage_days * DAY_S
        removed += _remove(store, usage, (usage.c.started_at < before) & (usage.c.seen_at < before))
    if settings.audit_days:
        removed += _remove(store, audit, audit.c.at < now - settings.audit_days * DAY_S)
    return removed


def _remove(store: Store, table: Table, is_old: ColumnElement[Any]) -> int:
    key = tuple_(*table.primary_key.columns)
    some_old = select(*table.primary_key.columns).where(is_old).limit(ROWS)
    total = 0
    while True:
        with store.write(affects_gateways=False) as transaction:
            removed = transaction.execute(delete(table).where(key.in_(some_old))).rowcount
        total += removed
        if removed < ROWS:
            return total
