"""The picture in the store, with records made by hand; what real sessions leave there is in `test_picture`."""

from __future__ import annotations

import json
import threading
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from sqlalchemy import delete, update

from gateway.managed.backlog import Backlog, Lost
from gateway.managed.mirror import REFRESH_S, StoreMirror
from gateway.store import Store, StoreUnavailableError
from gateway.store.schema import connection, connection_event, endpoint, usage
from tests.lab.postgres import Postgres
from tests.unit.gateway.actions.rows import ENDPOINT_ID, add_endpoint
from tests.unit.gateway.managed.rows import NODE, T0, counters, ended, established, failed, rows
from tests.unit.gateway.stores import PostgresSite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from gateway.connection_log import ConnectionRecord, Counters


class Gateway:
    """A mirror, a clock that is moved by hand, and what sessions have moved."""

    def __init__(self, store: Store, **limits: int) -> None:
        self.now = T0
        self.moved: dict[str, Counters] = {}
        self.mirror = StoreMirror(
            store, lambda: tuple(self.moved.items()), node=NODE, backlog=Backlog(**limits), unix_time=lambda: self.now
        )

    async def write(self, *records: ConnectionRecord, refresh: bool = False) -> None:
        for record in records:
            self.mirror.note(record)
        if refresh:
            self.mirror._refresh_moment = float("-inf")
        await self.mirror.write()


@pytest.fixture
def gateway(store: Store) -> Gateway:
    add_endpoint(store)
    return Gateway(store)


async def test_a_connection_is_in_the_store_while_it_goes_on(store: Store, gateway: Gateway) -> None:
    await gateway.write(established())
    (row,) = rows(store, connection)
    assert row["status_code"] == "active"
    assert row["ended_at"] is None
    assert (row["common_name"], row["groups"], row["username"]) == ("ana", ["engineering"], "")
    assert (row["device_ip"], row["device_port"], row["transport_protocol"]) == ("198.51.100.9", 50096, "udp")
    assert (row["established_at"], row["node"]) == (T0, NODE)


async def test_a_connection_that_ends_leaves_its_end_and_what_it_moved(store: Store, gateway: Gateway) -> None:
    await gateway.write(established())
    await gateway.write(ended(established(), T0 + 90.7, moved=4))
    (row,) = rows(store, connection)
    assert (row["status_code"], row["ended_at"]) == ("terminated", T0 + 90.7)
    assert (row["ingress_bytes"], row["egress_bytes"]) == (400, 3600)
    (interval,) = rows(store, usage)
    assert (interval["started_at"], interval["ended_at"]) == (T0, T0 + 90)
    assert [event["outcome"] for event in rows(store, connection_event)] == ["successful", "ended"]


async def test_counters_and_usage_follow_with_each_refresh(store: Store, gateway: Gateway) -> None:
    await gateway.write(established())
    gateway.moved = {established().connection_id: counters(7)}
    gateway.now = T0 + 5.9
    await gateway.write(refresh=True)
    (row,) = rows(store, connection)
    assert (row["ingress_packets"], row["updated_at"]) == (7, T0 + 5.9)
    (interval,) = rows(store, usage)
    assert (interval["seen_at"], interval["ended_at"]) == (T0 + 5, None)


async def test_the_log_has_every_attempt_and_no_refreshes(store: Store, gateway: Gateway) -> None:
    await gateway.write(established(1), failed(2), established(1, T0 + 60))
    first, second = rows(store, connection_event)
    assert (first["outcome"], second["outcome"]) == ("successful", "failed")
    assert second["record"] == json.loads(failed(2).as_json())
    assert (second["name"], second["endpoint_id"], second["at"]) == ("ana", ENDPOINT_ID, T0)
    assert len(rows(store, connection)) == 1


async def test_a_status_that_somebody_asked_for_stays_until_the_end(store: Store, gateway: Gateway) -> None:
    await gateway.write(established())
    with store.write() as transaction:
        transaction.execute(update(connection).values(status_code="terminating"))
    await gateway.write(established(at=T0 + 60, started_at=T0))
    assert rows(store, connection)[0]["status_code"] == "terminating"
    await gateway.write(ended(established(), T0 + 61))
    assert rows(store, connection)[0]["status_code"] == "terminated"


async def test_what_a_killed_process_left_open_ends_when_it_was_last_seen(store: Store, gateway: Gateway) -> None:
    await gateway.write(established(1), established(2))
    gateway.now = T0 + 300
    await gateway.write(refresh=True)
    successor = Gateway(store)
    successor.now = T0 + 9000
    await successor.write(established(3, T0 + 8000))
    by_id = {row["id"][-1]: row for row in rows(store, connection)}
    assert [by_id[number]["ended_at"] for number in "123"] == [T0 + 300, T0 + 300, None]
    assert "without closing its books" in by_id["1"]["status_message"]
    intervals = {row["id"][-1]: row["ended_at"] for row in rows(store, usage)}
    assert intervals == {"1": T0 + 300, "2": T0 + 300, "3": None}


async def test_connections_of_other_nodes_are_left_alone(store: Store, gateway: Gateway) -> None:
    await gateway.write(established(1, node="gw2"))
    await Gateway(store).write()
    assert rows(store, connection)[0]["ended_at"] is None


async def test_a_session_that_began_while_the_store_was_away_is_no_orphan(store: Store, gateway: Gateway) -> None:
    await gateway.write(established())
    successor = Gateway(store)
    successor.mirror.note(established())
    await successor.write()
    assert rows(store, connection)[0]["ended_at"] is None


async def test_a_connection_waits_for_its_endpoint_and_its_usage_does_not(store: Store) -> None:
    gateway = Gateway(store)
    await gateway.write(established())
    assert (rows(store, connection), len(rows(store, usage)), len(rows(store, connection_event))) == ([], 1, 1)
    add_endpoint(store)
    await gateway.write(refresh=True)
    assert len(rows(store, connection)) == 1
    assert gateway.mirror.status().waiting == 0


async def test_what_a_client_says_of_itself_cannot_keep_others_out(store: Store, gateway: Gateway) -> None:
    odd = established(1, device_type="lin\0ux" * 40, client_version="\ud800" * 100, common_name="a\0b" * 500)
    await gateway.write(odd, established(2), failed(3, common_name="\ud800\0"))
    assert len(rows(store, connection)) == 2
    assert len(rows(store, connection_event)) == 3
    assert gateway.mirror.status().lost == Lost()


async def test_what_the_database_refuses_is_lost_alone(store: Store, gateway: Gateway) -> None:
    await gateway.write(established(1), established(2, transport_protocol=None), established(3))
    assert [row["id"][-1] for row in rows(store, connection)] == ["1", "3"]
    assert len(rows(store, connection_event)) == 3
    assert gateway.mirror.status().lost == Lost(connections=1)
    assert gateway.mirror.status().waiting == 0


async def test_an_endpoint_that_is_removed_takes_its_connections_and_no_usage(store: Store, gateway: Gateway) -> None:
    await gateway.write(established())
    with store.write() as transaction:
        transaction.execute(delete(endpoint))
    await gateway.write(ended(established(), T0 + 60))
    assert rows(store, connection) == []
    assert rows(store, usage)[0]["ended_at"] == T0 + 60


# Away and back


class AwayStore(Store):
    """A store that can be away, or slow."""

    def __init__(self, store: Store) -> None:
        self.__dict__.update(store.__dict__)
        self.away = False
        self.forgets_to_answer = False
        self.transactions = 0
        self.meanwhile: Callable[[], None] = lambda: None
        self.gate = threading.Event()
        self.gate.set()
        self.left = threading.Event()

    @contextmanager
    def write(self, *, affects_gateways: bool = True) -> Iterator[Connection]:
        self.gate.wait()
        if self.away:
            raise StoreUnavailableError("the database does not answer: no route")
        self.transactions += 1
        with super().write(affects_gateways=affects_gateways) as transaction:
            yield transaction
            self.meanwhile()
        self.left.set()
        if self.forgets_to_answer:
            raise StoreUnavailableError("the database is gone: in the middle of COMMIT")


@pytest.fixture
def away(store: Store) -> Iterator[AwayStore]:
    add_endpoint(store)
    away = AwayStore(store)
    yield away
    away.close()  # it counts transactions of its own, which may have been left to their threads


async def test_what_happened_while_the_store_was_away_is_written_when_it_is_back(away: AwayStore) -> None:
    gateway = Gateway(away)
    away.away = True
    for record in (established(1), established(2), failed(3), ended(established(1), T0 + 50, 2)):
        with pytest.raises(StoreUnavailableError):
            await gateway.write(record)
    status = gateway.mirror.status()
    assert (status.failing, status.waiting, status.written_at) == ("the database does not answer: no route", 6, None)
    away.away = False
    await gateway.write()
    assert [row["ended_at"] for row in rows(away, connection)] == [T0 + 50, None]
    assert [row["outcome"] for row in rows(away, connection_event)] == ["successful", "successful", "failed", "ended"]
    assert [(row["started_at"], row["ended_at"]) for row in rows(away, usage)] == [(T0, T0 + 50), (T0, None)]
    assert (gateway.mirror.status().failing, gateway.mirror.status().waiting) == (None, 0)


async def test_what_was_written_and_never_confirmed_is_there_once(away: AwayStore) -> None:
    gateway = Gateway(away)
    away.forgets_to_answer = True
    with pytest.raises(StoreUnavailableError):
        await gateway.write(established(1), failed(2))
    away.forgets_to_answer = False
    await gateway.write(failed(3), ended(established(1), T0 + 1))
    outcomes = [(event["connection_id"][-1], event["outcome"]) for event in rows(away, connection_event)]
    assert outcomes == [("1", "successful"), ("2", "failed"), ("3", "failed"), ("1", "ended")]
    assert len(rows(away, connection)) == len(rows(away, usage)) == 1


async def test_the_log_says_how_many_of_its_lines_were_lost(away: AwayStore) -> None:
    gateway = Gateway(away, max_events=2)
    away.away = True
    with pytest.raises(StoreUnavailableError):
        await gateway.write(*(failed(number) for number in range(5)))
    away.away = False
    await gateway.write()
    lost, *kept = rows(away, connection_event)
    assert (lost["outcome"], lost["record"]["lost-records"], len(kept)) == ("lost", "3", 2)


async def test_a_store_that_hangs_holds_up_nobody(away: AwayStore) -> None:
    gateway = Gateway(away)
    away.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.mirror.run)
        await trio.testing.wait_all_tasks_blocked()
        gateway.mirror.note(established())
        await gateway.mirror.finish(0.01)
        assert gateway.mirror.status().waiting == 2
        nursery.cancel_scope.cancel()
    away.gate.set()
    await trio.to_thread.run_sync(away.left.wait)


@pytest.mark.postgresql
async def test_a_database_server_that_is_killed_and_comes_back_misses_nothing(tmp_path: Path) -> None:
    with Postgres() as server:
        store = PostgresSite(server, server.create_database(), tmp_path).open()
        add_endpoint(store)
        gateway = Gateway(store)
        await gateway.write(established(1), established(2))
        server.stop_immediately()
        with pytest.raises(StoreUnavailableError):
            await gateway.write(ended(established(1), T0 + 50), failed(3))
        server.start()
        await gateway.write(refresh=True)
        assert [row["ended_at"] for row in rows(store, connection)] == [T0 + 50, None]
        outcomes = [row["outcome"] for row in rows(store, connection_event)]
        assert outcomes == ["successful", "successful", "ended", "failed"]
        store.close()


# The task


@asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.mirror.run)
        yield
        nursery.cancel_scope.cancel()


async def until_written(gateway: Gateway, table_rows: int, store: Store) -> None:
    await until(lambda: len(rows(store, connection)) == table_rows and not gateway.mirror.status().waiting)


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not holds():  # noqa: ASYNC110 - the store has no events
            await trio.sleep(0.02)


async def test_the_task_writes_what_is_news_by_itself(away: AwayStore) -> None:
    gateway = Gateway(away)
    async with running(gateway):
        gateway.mirror.note(established(1))
        await until_written(gateway, 1, away)


async def test_a_crowd_that_connects_is_few_transactions(away: AwayStore) -> None:
    gateway = Gateway(away)
    async with running(gateway):
        for number in range(1000):
            gateway.mirror.note(established(number))
        await until_written(gateway, 1000, away)
    assert away.transactions <= 5


async def test_what_comes_while_others_are_written_waits_for_more_of_its_kind(away: AwayStore) -> None:
    gateway = Gateway(away)
    newcomers = iter([failed(number) for number in range(1, 10)])

    def one_more() -> None:
        for newcomer in islice(newcomers, 1):
            gateway.mirror.note(newcomer)

    away.meanwhile = one_more
    await gateway.write(established(0), refresh=True)
    before = away.transactions
    await gateway.mirror.write()
    assert (away.transactions - before, gateway.mirror.status().waiting) == (1, 1)


async def test_the_task_goes_on_when_the_store_is_back(away: AwayStore) -> None:
    gateway = Gateway(away)
    away.away = True
    async with running(gateway):
        gateway.mirror.note(established())
        await until(lambda: gateway.mirror.status().failing is not None)
        away.away = False
        await until_written(gateway, 1, away)


async def test_a_gateway_without_clients_leaves_the_store_alone(
    away: AwayStore, autojump_clock: trio.testing.MockClock
) -> None:
    gateway = Gateway(away)
    await gateway.mirror.write()
    before = away.transactions
    await trio.sleep(2 * REFRESH_S)
    await gateway.mirror.write()
    assert away.transactions == before


async def test_the_end_writes_what_is_left(away: AwayStore) -> None:
    gateway = Gateway(away)
    async with running(gateway):
        gateway.mirror.note(established())
        gateway.mirror.note(ended(established(), T0 + 1))
        await gateway.mirror.finish(20)
    assert rows(away, connection)[0]["ended_at"] == T0 + 1
