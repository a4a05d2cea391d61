"""Two writers cannot break what one of them has checked; whatever is killed, no half of a transaction stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.store import Store, StoreUnavailableError
from gateway.store.schema import association, endpoint, tag
from tests.lab.postgres import Postgres
from tests.unit.gateway.store.rows import put_association, put_endpoint
from tests.unit.gateway.stores import PostgresSite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.unit.gateway.stores import StoreSite

PROCESSES = 3
THREADS = 8
WRITES = 1000
SOON_S = 60

WRITER = """
import os, sys
from pathlib import Path
from sqlalchemy import insert, select, func, update
from gateway.store import open_store
from gateway.store.schema import tag
store = open_store(sys.argv[1], Path(sys.argv[2]))
print("open", flush=True)
"""
"""A process with the store open; a test adds what it does once a line comes."""


def _start(site: StoreSite, script: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER + script, site.url, str(site.key_file)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "open\n"
    return process


def _count(store: Store) -> int:
    with store.read() as connection:
        return connection.scalars(select(func.count()).select_from(tag)).one()


def _put(store: Store, key: str) -> None:
    with store.write() as connection:
        connection.execute(insert(tag).values(resource_id="r", resource_type="t", key=key, value=""))


def _succeeded(store: Store, attempts: list[Callable[[Connection], None]]) -> int:
    """How many of several writes that begin at once are carried out; the others meet a constraint."""
    together = threading.Barrier(len(attempts))

    def attempt(put: Callable[[Connection], None]) -> bool:
        together.wait()
        try:
            with store.write() as connection:
                put(connection)
        except IntegrityError:
            return False
        return True

    with ThreadPoolExecutor(len(attempts)) as pool:
        return sum(pool.map(attempt, attempts))


def test_of_endpoints_with_one_client_cidr_block_only_one_is_made(store: Store) -> None:
    def put(number: int) -> Callable[[Connection], None]:
        return lambda connection: put_endpoint(connection, str(number), client_cidr_block="10.0.0.0/16")

    assert _succeeded(store, [put(number) for number in range(THREADS)]) == 1
    with store.write() as connection:
        connection.execute(update(endpoint).values(ended_at=1))
        put_endpoint(connection, "next", client_cidr_block="10.0.0.0/16")


@pytest.mark.parametrize("member", ["zone", "subnet_id"])
def test_of_associations_in_one_place_of_an_endpoint_only_one_is_made(store: Store, member: str) -> None:
    def put(number: int) -> Callable[[Connection], None]:
        return lambda connection: put_association(connection, str(number), "1", **{member: "same"})

    with store.write() as connection:
        put_endpoint(connection, "1")
        put_endpoint(connection, "2")
    assert _succeeded(store, [put(number) for number in range(THREADS)]) == 1
    with store.write() as connection:
        put_association(connection, "of another endpoint", "2", **{member: "same"})
        connection.execute(update(association).values(ended_at=1))
        put_association(connection, "next", "1", **{member: "same"})


def test_what_a_writer_has_counted_still_holds_when_it_writes(store: Store, store_site: StoreSite) -> None:
    """No constraint says so, as with quotas and overlaps: only that a writer is alone."""
    script = """
sys.stdin.readline()
for number in range(200):
    with store.write() as connection:
        count = connection.scalars(select(func.count()).select_from(tag)).one()
        if count < 301:
            row = {"resource_id": str(os.getpid()), "resource_type": "t", "key": str(number), "value": ""}
            connection.execute(insert(tag).values(row))
"""
    processes = [_start(store_site, script) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * PROCESSES
    assert _count(store) == 301


def test_a_thousand_parallel_writes_lose_nothing(store: Store, store_site: StoreSite) -> None:
    other = store_site.open()
    before = store.counter()
    with ThreadPoolExecutor(2 * THREADS) as pool:
        for number, opened in zip(range(WRITES), [store, other] * WRITES, strict=False):
            pool.submit(_put, opened, str(number))
    assert _count(store) == WRITES
    assert store.counter() == before + WRITES
    other.close()


def test_a_process_that_is_killed_inside_a_write_leaves_nothing_of_it(store: Store, store_site: StoreSite) -> None:
    script = """
with store.write() as connection:
    for key in "abc":
        connection.execute(insert(tag).values(resource_id="r", resource_type="t", key=key, value=""))
    print("written", flush=True)
    sys.stdin.readline()
"""
    before = store.counter()
    process = _start(store_site, script)
    assert process.stdout
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (_count(store), store.counter()) == (0, before)
    _put(store, "a")
    assert (_count(store), store.counter()) == (1, before + 1)


@pytest.mark.postgresql
def test_a_server_that_dies_inside_a_write_leaves_nothing_of_it_and_comes_back(tmp_path: Path) -> None:
    def write_and_lose_the_server() -> None:
        with store.write() as connection:
            connection.execute(insert(tag).values(resource_id="r", resource_type="t", key="b", value=""))
            server.stop_immediately()

    with Postgres() as server:
        store = PostgresSite(server, server.create_database(), tmp_path).open()
        _put(store, "a")
        with pytest.raises(StoreUnavailableError, match=r"the database (is gone|does not answer)"):
            write_and_lose_the_server()
        with pytest.raises(StoreUnavailableError, match=r"the database does not answer"):
            _count(store)
        server.start()
        assert (_count(store), store.counter()) == (1, 1)
        _put(store, "b")
        assert (_count(store), store.counter()) == (2, 2)
        store.close()


@pytest.mark.postgresql
def test_what_was_acknowledged_outlives_a_server_that_dies_among_parallel_writes(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()

    def write_until_it_dies(first: int) -> None:
        for number in range(first, WRITES, THREADS):
            _put(store, str(number))
            acknowledged.append(str(number))
            if len(acknowledged) > 50:
                enough.set()

    with Postgres() as server:
        store = PostgresSite(server, server.create_database(), tmp_path).open()
        with ThreadPoolExecutor(THREADS) as pool:
            writers = [pool.submit(write_until_it_dies, first) for first in range(THREADS)]
            assert enough.wait(SOON_S)
            server.stop_immediately()
        assert all(isinstance(writer.exception(), StoreUnavailableError) for writer in writers)
        server.start()
        with store.read() as connection:
            kept = set(connection.scalars(select(tag.c.key)))
        assert set(acknowledged) <= kept
        assert store.counter() == len(kept)
        store.close()
