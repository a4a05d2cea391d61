from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from sqlalchemy import insert

from gateway.config.settings import StoreSettings
from gateway.managed import retention
from gateway.managed.retention import Retention
from gateway.store import StoreUnavailableError, forget
from gateway.store.schema import connection_event
from tests.unit.gateway.managed.rows import T0, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.store import Store

DAYS = StoreSettings(url="", key_file=Path("store.key"), connection_log_days=2)


async def look_until(store: Store, holds: Callable[[], bool], now: float = T0) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Retention(store, DAYS, unix_time=lambda: now).run)
        with trio.fail_after(20):
            while not holds():  # noqa: ASYNC110 - a thread makes it true
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()


async def test_what_is_old_goes_by_itself(store: Store) -> None:
    event = {"endpoint_id": "", "connection_id": "", "name": "", "outcome": "failed", "record": {}}
    with store.write() as transaction:
        transaction.execute(insert(connection_event), [{"at": at, **event} for at in (T0, T0 + 86_400)])
    finished = threading.Event()

    def forget_and_say_so(*arguments: Any) -> Any:
        gone = forget(*arguments)
        finished.set()
        return gone

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "forget", forget_and_say_so)
        await look_until(store, finished.is_set, T0 + 2.5 * 86_400)
    assert [row["at"] for row in rows(store, connection_event)] == [T0 + 86_400]


async def test_a_store_that_is_away_is_looked_at_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def away(store: Store, days: object, now: float) -> dict[str, int]:
        looks.append(now)
        raise StoreUnavailableError("the database does not answer")

    monkeypatch.setattr(retention, "forget", away)
    monkeypatch.setattr(retention, "EVERY_S", 0.01)
    await look_until(store, lambda: len(looks) > 1)
