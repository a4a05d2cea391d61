from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import bindparam, func, insert, select, update

from gateway.store.many_rows import ManyRows
from gateway.store.schema import tag, usage

if TYPE_CHECKING:
    from typing import Any

    from gateway.store import Store

COLUMNS = ("kind", "id", "endpoint_id", "name", "groups", "started_at", "seen_at", "ended_at")


def upsert(own_insert: Any) -> Any:
    statement = own_insert(usage)
    later = func.coalesce(statement.excluded.ended_at, usage.c.ended_at)
    return statement.on_conflict_do_update(index_elements=["kind", "id"], set_={"ended_at": later})


def row(number: int, ended_at: float | None = None) -> tuple[Any, ...]:
    return "connection", f"c{number}", "e", "100 % of ? and %s", '["a", "b"]', 1.5, 2.0, ended_at


def test_rows_arrive_as_if_they_were_written_one_by_one(store: Store) -> None:
    rows = ManyRows(COLUMNS, upsert)
    with store.write() as transaction:
        rows.execute(transaction, [row(1)])
        rows.execute(transaction, [row(number) for number in range(3)])
        rows.execute(transaction, [row(1, 9.0), row(3, 9.0)])
        rows.execute(transaction, [row(1)])
    with store.read() as transaction:
        found = transaction.execute(select(usage).order_by(usage.c.id)).all()
    expected = ("connection", "e", "100 % of ? and %s", ["a", "b"], 1.5, 2.0)
    assert all((one[0], *one[2:7]) == expected for one in found)
    assert [(one.id, one.ended_at) for one in found] == [("c0", None), ("c1", 9.0), ("c2", None), ("c3", 9.0)]


def test_rows_may_change_what_is_there(store: Store) -> None:
    with store.write() as transaction:
        values = [{"resource_id": one, "resource_type": "x", "key": "k", "value": "old"} for one in "abc"]
        transaction.execute(insert(tag), values)
        change = update(tag).where(tag.c.resource_id == bindparam("its_id")).values(value=bindparam("now_value"))
        ManyRows(("now_value", "its_id"), lambda _: change).execute(transaction, [("new", "a"), ("new", "c")])
        found = transaction.execute(select(tag.c.resource_id, tag.c.value).order_by(tag.c.resource_id)).all()
    assert [tuple(one) for one in found] == [("a", "new"), ("b", "old"), ("c", "new")]


def test_columns_in_another_order_than_the_statement_has_them_are_a_mistake(store: Store) -> None:
    rows = ManyRows(tuple(reversed(COLUMNS)), upsert)
    with store.write() as transaction, pytest.raises(ValueError, match="parameters"):
        rows.execute(transaction, [row(1)])
