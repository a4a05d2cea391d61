from __future__ import annotations

import errno
import math
import sys
import time
from typing import TYPE_CHECKING

import pytest
import trio

from gateway.store import StoreUnavailableError, sqlite, watch_changes
from gateway.store.changes import _Line
from tests.lab.postgres import Postgres
from tests.unit.gateway.stores import PostgresSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.store import Store
    from gateway.store.file_events import FileEvents
    from tests.unit.gateway.stores import SqliteSite, StoreSite

SOON_S = 30
"""Longer than anything here takes: a change that is not told by then is not told."""
QUIET_S = 0.5


@pytest.fixture
def elsewhere(store_site: StoreSite) -> Iterator[Store]:
    """The same store, as another process has it open."""
    store = store_site.open()
    yield store
    store.close()


def _change(store: Store, *, affects_gateways: bool = True) -> None:
    with store.write(affects_gateways=affects_gateways):
        pass


async def test_a_change_is_told_whoever_makes_it(store: Store, elsewhere: Store) -> None:
    async with watch_changes(store) as changes:
        for writer in (store, elsewhere, store):
            await _change_in_thread(writer)
            assert await changes.wait(SOON_S)


async def _change_in_thread(store: Store) -> None:
    await trio.to_thread.run_sync(_change, store)


async def test_a_change_is_told_to_one_who_waits_already(store: Store, elsewhere: Store) -> None:
    async with watch_changes(store) as changes, trio.open_nursery() as nursery:
        nursery.start_soon(_change_in_thread, elsewhere)
        assert await changes.wait(SOON_S)


async def test_what_concerns_no_gateway_is_not_told(store: Store, elsewhere: Store) -> None:
    async with watch_changes(store) as changes:
        _change(elsewhere, affects_gateways=False)
        assert not await changes.wait(QUIET_S)


async def test_what_was_undone_is_not_told(store: Store, elsewhere: Store) -> None:
    def fail() -> None:
        with elsewhere.write():
            raise ZeroDivisionError

    async with watch_changes(store) as changes:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert not await changes.wait(QUIET_S)


async def test_a_lost_connection_is_made_anew_and_may_have_missed_a_change(store: Store) -> None:
    async with watch_changes(store) as changes:
        signal = changes._line.signal
        assert signal is not None
        signal.close()
        assert await changes.wait(SOON_S)
        _change(store)
        assert await changes.wait(SOON_S)


async def test_a_watch_that_is_cancelled_leaves_nothing_behind(store: Store) -> None:
    with trio.move_on_after(QUIET_S) as scope:
        async with watch_changes(store) as changes:
            await changes.wait()
    assert scope.cancelled_caught
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    assert changes._line.signal is None


@pytest.mark.postgresql
async def test_a_server_that_goes_and_comes_back_is_found_again(tmp_path: Path) -> None:
    with Postgres() as server:
        store = PostgresSite(server, server.create_database(), tmp_path).open()
        async with watch_changes(store) as changes:
            server.stop_immediately()
            assert not await changes.wait(QUIET_S)
            server.start()
            assert await changes.wait(SOON_S)
            _change(store)
            assert await changes.wait(SOON_S)
        store.close()


@pytest.mark.postgresql
async def test_a_watch_may_begin_while_the_server_is_away(tmp_path: Path) -> None:
    with Postgres() as server:
        store = PostgresSite(server, server.create_database(), tmp_path).open()
        server.stop_immediately()
        async with watch_changes(store) as changes:
            assert not await changes.wait(QUIET_S)
            server.start()
            assert await changes.wait(SOON_S)
        store.close()


class _Signal:
    def __init__(self) -> None:
        self.closed = 0

    async def wait(self) -> None:
        raise AssertionError

    def close(self) -> None:
        self.closed += 1


def test_a_connection_that_comes_too_late_is_closed() -> None:
    late = _Signal()
    line = _Line(lambda: late)
    line.close()
    with pytest.raises(StoreUnavailableError):
        line.open()
    assert (late.closed, line.signal) == (1, None)


ON_A_FILE = pytest.mark.parametrize("store_engine", ["sqlite"])
FOREIGN = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("UPDATE change SET counter = counter + 1")
"""


@ON_A_FILE
async def test_what_a_foreign_program_writes_is_told_within_a_second(
    store_site: SqliteSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_LOOK_EVERY_S", math.inf)
    async with watch_changes(store) as changes:
        for _ in range(3):
            await trio.run_process([sys.executable, "-c", FOREIGN, str(store_site.path)])
            assert await changes.wait(SOON_S)


@ON_A_FILE
async def test_a_host_that_does_not_tell_of_writing_is_asked_instead(
    store: Store, elsewhere: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FileEvents", _no_room)
    async with watch_changes(store) as changes:
        for _ in range(3):
            await _change_in_thread(elsewhere)
            assert await changes.wait(SOON_S)


def _no_room(_: Path) -> FileEvents:
    raise OSError(errno.ENOSPC, "No space left on device")


@ON_A_FILE
async def test_a_commit_that_takes_long_after_it_was_written_is_told(
    store: Store, elsewhere: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is written to before the commit, and nothing tells of that itself."""
    monkeypatch.setattr(sqlite, "_LOOK_EVERY_S", 1.0)

    def write_slowly() -> None:
        with elsewhere.write() as connection:
            connection.exec_driver_sql("PRAGMA cache_size = 1")
            connection.exec_driver_sql("CREATE TABLE large AS SELECT randomblob(100000) AS octets")
            time.sleep(0.3)

    async with watch_changes(store) as changes:
        await trio.to_thread.run_sync(write_slowly)
        assert await changes.wait(SOON_S)
    with elsewhere.write() as connection:
        connection.exec_driver_sql("DROP TABLE large")
