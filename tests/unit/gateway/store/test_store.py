from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, delete, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.store import StoreUnavailableError, postgresql
from gateway.store.schema import tag
from tests.unit.gateway.store.rows import TAG, count_tags, put_tags

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.stores import StoreSite

SECRET = "hunter2"


def test_what_was_written_is_read(store: Store) -> None:
    put_tags(store)
    assert count_tags(store) == 1


def test_what_raises_undoes_everything_that_it_wrote(store: Store) -> None:
    def fail() -> None:
        with store.write() as connection:
            connection.execute(insert(tag).values(TAG))
            raise ZeroDivisionError

    before = store.counter()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert (count_tags(store), store.counter()) == (0, before)


def test_the_counter_grows_with_what_gateways_have_to_know_of_and_only_with_that(store: Store) -> None:
    before = store.counter()
    with store.write(affects_gateways=False) as connection:
        connection.execute(insert(tag).values(TAG))
    assert store.counter() == before
    with store.write() as connection:
        connection.execute(delete(tag))
    assert store.counter() == before + 1


def test_a_transaction_that_reads_cannot_write(store: Store) -> None:
    def write(connection: Connection) -> None:
        connection.execute(insert(tag).values(TAG))

    with pytest.raises(StoreUnavailableError, match="read"), store.read() as connection:
        write(connection)
    assert count_tags(store) == 0
    put_tags(store)
    assert count_tags(store) == 1


def test_a_transaction_that_reads_sees_one_state(store: Store, store_site: StoreSite) -> None:
    other = store_site.open()
    with store.read() as connection:
        before = connection.execute(select(tag)).all()
        put_tags(other)
        assert connection.execute(select(tag)).all() == before == []
    other.close()
    assert count_tags(store) == 1


def test_a_mistake_in_the_program_is_not_taken_for_an_outage(store: Store) -> None:
    with pytest.raises(DBAPIError, match="nonsense"), store.read() as connection:
        connection.execute(text("SELECT nonsense FROM tag"))


def test_a_writer_is_not_waited_for_without_end(
    store: Store, store_site: StoreSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.sqlite.WRITE_WAIT_S", 0.2)
    monkeypatch.setitem(postgresql._SETTINGS, "lock_timeout", "200ms")
    other = store_site.open()
    with store.write(), pytest.raises(StoreUnavailableError, match=r"has been writing .*for more than"):
        put_tags(other)
    put_tags(other)
    other.close()
    assert count_tags(store) == 1


def test_threads_of_one_process_do_not_wait_for_each_other_without_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.store.WRITE_WAIT_S", 0.1)
    with store.write(), pytest.raises(StoreUnavailableError, match="in this process"):
        put_tags(store)
    put_tags(store)
    assert count_tags(store) == 1


def test_what_is_said_of_a_statement_that_fails_hides_its_values(store: Store) -> None:
    put_tags(store)
    with pytest.raises(IntegrityError) as caught:
        put_tags(store, TAG | {"value": SECRET})
    assert SECRET not in str(caught.value)
