from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trio.testing
from sqlalchemy import insert

from gateway.config.settings import StoreSettings
from gateway.managed import retention
from gateway.managed.retention import EVERY_S, Retention
from gateway.store import StoreUnavailableError
from gateway.store.schema import connection_event
from tests.unit.gateway.managed.rows import T0, rows

if TYPE_CHECKING:
    import pytest

    from gateway.store import Store

DAYS = StoreSettings(url="", key_file=Path("store.key"), connection_log_days=2)


async def look_twice(store: Store, now: float) -> None:
    with trio.move_on_after(EVERY_S + 1):
        await Retention(store, DAYS, unix_time=lambda: now).run()


async def test_what_is_old_goes_by_itself(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    event = {"endpoint_id": "", "connection_id": "", "name": "", "outcome": "failed", "record": {}}
    with store.write() as transaction:
        transaction.execute(insert(connection_event), [{"at": at, **event} for at in (T0, T0 + 86_400)])
    await look_twice(store, T0 + 2.5 * 86_400)
    assert [row["at"] for row in rows(store, connection_event)] == [T0 + 86_400]


async def test_a_store_that_is_away_is_looked_at_again(
    store: Store, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def away(store: Store, days: object, now: float) -> dict[str, int]:
        looks.append(now)
        raise StoreUnavailableError("the database does not answer")

    monkeypatch.setattr(retention, "forget", away)
    await look_twice(store, T0)
    assert len(looks) == 2
