from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from gateway.managed.accounting import account_associations
from gateway.store.schema import association, usage
from tests.unit.gateway.actions.rows import ENDPOINT_ID, add_association, add_endpoint
from tests.unit.gateway.managed.rows import T0, rows

if TYPE_CHECKING:
    from gateway.store import Store


def account(store: Store, now: float) -> None:
    with store.write() as transaction:
        account_associations(transaction, now)


def change(store: Store, **values: Any) -> None:
    with store.write() as transaction:
        transaction.execute(update(association).values(**values))


def test_an_association_is_accounted_from_when_it_has_come_about_until_it_ends(store: Store) -> None:
    add_endpoint(store)
    add_association(store, status_code="associating")
    account(store, T0)
    assert rows(store, usage) == []
    change(store, status_code="associated")
    account(store, T0 + 10.5)
    account(store, T0 + 70.5)
    (interval,) = rows(store, usage)
    assert (interval["kind"], interval["id"], interval["endpoint_id"]) == ("association", "cvpn-assoc-1", ENDPOINT_ID)
    assert (interval["started_at"], interval["seen_at"], interval["ended_at"]) == (T0 + 10, T0 + 70, None)
    assert (interval["name"], interval["groups"]) == ("", [])
    change(store, status_code="disassociated", ended_at=T0 + 100.9)
    account(store, T0 + 130)
    (interval,) = rows(store, usage)
    assert interval["ended_at"] == T0 + 100


def test_one_that_never_came_about_costs_nothing(store: Store) -> None:
    add_endpoint(store)
    add_association(store, status_code="association-failed")
    account(store, T0)
    assert rows(store, usage) == []


def test_it_goes_on_while_it_is_being_ended_and_when_it_is_put_back(store: Store) -> None:
    add_endpoint(store)
    add_association(store)
    account(store, T0)
    for moment, status in enumerate(("disassociating", "associating", "associated")):
        change(store, status_code=status)
        account(store, T0 + moment)
        assert [row["ended_at"] for row in rows(store, usage)] == [None]


def test_one_whose_row_is_gone_ended_when_it_was_last_seen(store: Store) -> None:
    add_endpoint(store)
    add_association(store)
    account(store, T0)
    account(store, T0 + 60)
    with store.write() as transaction:
        transaction.execute(delete(association))
    account(store, T0 + 5000)
    assert rows(store, usage)[0]["ended_at"] == T0 + 60


def test_clocks_that_disagree_make_no_interval_negative(store: Store) -> None:
    add_endpoint(store)
    add_association(store)
    account(store, T0)
    change(store, status_code="disassociated", ended_at=T0 - 5)
    account(store, T0 + 1)
    assert rows(store, usage)[0]["ended_at"] == T0


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(looks=st.sets(st.integers(0, 100)))
def test_how_often_anybody_looks_changes_nothing(store: Store, looks: set[int]) -> None:
    with store.write() as transaction:
        for table in (usage, association):
            transaction.execute(delete(table))
    if not rows(store, association.metadata.tables["endpoint"]):
        add_endpoint(store)
    add_association(store)
    account(store, T0)
    for moment in sorted(looks):
        account(store, T0 + moment)
    change(store, status_code="disassociated", ended_at=T0 + 100)
    account(store, T0 + 101)
    (interval,) = rows(store, usage)
    assert (interval["started_at"], interval["ended_at"]) == (T0, T0 + 100)
