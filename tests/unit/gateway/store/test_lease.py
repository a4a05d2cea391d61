from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import trio

from gateway.store import NameTakenError, StoreUnavailableError
from gateway.store import postgresql as postgresql_backend
from tests.lab.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.store import Store
    from tests.unit.gateway.stores import StoreSite

SOON_S = 30
ON_A_SERVER = pytest.mark.parametrize("store_engine", [pytest.param("postgresql", marks=pytest.mark.postgresql)])
HOLDER = """
import sys, pathlib
from gateway.store import open_store
store = open_store(sys.argv[1], pathlib.Path(sys.argv[2]))
lease = store.lease("gw1")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_backend, "_NAME_WAIT_S", 1)


@pytest.fixture
def elsewhere(store_site: StoreSite) -> Iterator[Store]:
    """The same store, as another gateway has it open."""
    store = store_site.open()
    yield store
    store.close()


def end_sessions(site: StoreSite) -> None:
    """As a PostgreSQL server does that an administrator tells to."""
    with psycopg.connect(site.url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_second_gateway_of_the_same_name_is_refused_until_the_first_has_gone(store: Store, elsewhere: Store) -> None:
    lease = store.lease("gw1")
    with pytest.raises(NameTakenError, match=r"another .* works from .* Give each "):
        elsewhere.lease("gw1")
    lease.close()
    elsewhere.lease("gw1").close()


def test_a_gateway_that_was_killed_holds_nothing(store_site: StoreSite, store: Store) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store_site.url, str(store_site.key_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(NameTakenError):
            store.lease("gw1")
        holder.kill()
    store.lease("gw1").close()


async def test_it_is_held_for_as_long_as_nobody_ends_it(store: Store) -> None:
    lease = store.lease("gw1")
    with trio.move_on_after(0.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lease.wait_lost)
            for _ in range(20):
                assert await trio.to_thread.run_sync(lease.speaks)
            await trio.sleep_forever()
        pytest.fail("it was lost")
    lease.close()


@pytest.mark.parametrize("store_engine", ["sqlite"])
def test_in_a_file_there_is_room_for_one(store: Store, elsewhere: Store) -> None:
    lease = store.lease("gw1")
    with pytest.raises(NameTakenError, match=r"let them meet in PostgreSQL: \[store\] url"):
        elsewhere.lease("gw2")
    lease.close()


@ON_A_SERVER
def test_of_several_gateways_the_first_speaks_and_then_another(store: Store, elsewhere: Store) -> None:
    first, second = store.lease("gw1"), elsewhere.lease("gw2")
    assert first.speaks()
    assert not second.speaks()
    assert first.speaks()
    first.close()
    eventually(second.speaks, within_s=SOON_S, what="its turn")
    second.close()


@ON_A_SERVER
async def test_a_session_that_the_server_ends_is_noticed(store_site: StoreSite, store: Store, elsewhere: Store) -> None:
    lease = store.lease("gw1")
    end_sessions(store_site)
    with trio.fail_after(SOON_S):
        await lease.wait_lost()
    with pytest.raises(StoreUnavailableError):
        lease.speaks()
    elsewhere.lease("gw1").close()
    lease.close()
