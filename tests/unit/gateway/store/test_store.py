from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select

from gateway.store.schema import tag

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.store import Store


def _put(connection: Connection, value: str) -> None:
    connection.execute(insert(tag).values(resource_id="r", resource_type="endpoint", key=value, value=value))


def _values(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.scalars(select(tag.c.value).order_by(tag.c.value)))


def test_what_was_written_is_read(store: Store) -> None:
    with store.write() as connection:
        _put(connection, "a")
    assert _values(store) == ["a"]


def test_what_raises_undoes_everything_that_it_wrote(store: Store) -> None:
    def fail() -> None:
        with store.write() as connection:
            _put(connection, "a")
            raise ZeroDivisionError

    before = store.counter()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert (_values(store), store.counter()) == ([], before)


def test_the_counter_grows_with_what_gateways_have_to_know_of_and_only_with_that(store: Store) -> None:
    before = store.counter()
    with store.write(affects_gateways=False) as connection:
        _put(connection, "a")
    assert store.counter() == before
    with store.write() as connection:
        _put(connection, "b")
    assert store.counter() == before + 1
