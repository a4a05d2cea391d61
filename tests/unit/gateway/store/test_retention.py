from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select

from gateway.store import forget, retention, schema
from tests.unit.gateway.store.rows import put_association, put_connection, put_endpoint, put_usage

if TYPE_CHECKING:
    from sqlalchemy import Table

    from gateway.store import Store

HOUR = 3600.0
DAY = 24 * HOUR
NOW = 1000 * DAY


@dataclass(frozen=True)
class Days:
    connection_log_days: int = 10
    usage_days: int = 100
    audit_days: int = 50


def _ids(store: Store, table: Table) -> list[Any]:
    column = next(iter(table.primary_key.columns))
    with store.read() as connection:
        return list(connection.scalars(select(column).order_by(column)))


def test_an_empty_store_has_nothing_to_forget(store: Store) -> None:
    assert forget(store, Days(), NOW) == {}


def test_ended_connections_go_after_an_hour_and_running_ones_stay(store: Store) -> None:
    with store.write() as connection:
        put_endpoint(connection, "1")
        put_connection(connection, "running", "1")
        put_connection(connection, "lately", "1", ended_at=NOW - HOUR + 1)
        put_connection(connection, "long ago", "1", ended_at=NOW - HOUR - 1)
    assert forget(store, Days(), NOW) == {"connection": 1}
    assert _ids(store, schema.connection) == ["lately", "running"]


def test_history_goes_after_the_days_that_the_configuration_gives_it(store: Store) -> None:
    with store.write() as connection:
        for days in (5, 15, 45, 55):
            at = NOW - days * DAY
            event = {"at": at, "endpoint_id": "1", "connection_id": "c", "name": "", "outcome": "ended", "record": {}}
            connection.execute(insert(schema.connection_event).values(event))
            entry = {"at": at, "request_id": "", "caller": "", "face": "api", "action": "", "outcome": "ok"}
            connection.execute(insert(schema.audit).values(parameters={}, **entry))
    assert forget(store, Days(0, 0, 0), NOW) == {}, "0 days are for ever"
    assert forget(store, Days(), NOW) == {"connection_event": 3, "audit": 1}
    assert (len(_ids(store, schema.connection_event)), len(_ids(store, schema.audit))) == (1, 3)


def test_usage_goes_by_its_end_or_by_when_it_was_last_seen(store: Store) -> None:
    old, new = NOW - 101 * DAY, NOW - 99 * DAY
    with store.write() as connection:
        put_usage(connection, "ended long ago", started_at=old, seen_at=old, ended_at=old)
        put_usage(connection, "never seen to end", started_at=old, seen_at=old)
        put_usage(connection, "going on", started_at=old, seen_at=NOW)
        put_usage(connection, "ended since", started_at=old, seen_at=new, ended_at=new)
    assert forget(store, Days(), NOW) == {"usage": 2}
    with store.read() as connection:
        kept = set(connection.scalars(select(schema.usage.c.id)))
    assert kept == {"going on", "ended since"}


def test_tokens_go_after_a_day_and_signatures_when_they_are_no_longer_valid(store: Store) -> None:
    with store.write() as connection:
        for token, hours in (("old", 25), ("new", 23)):
            row = {"caller": "", "action": "", "token": token, "request_digest": "", "response": {}}
            connection.execute(insert(schema.idempotency).values(created_at=NOW - hours * HOUR, **row))
            signature = {"signature": token, "expires_at": NOW + (24 - hours) * HOUR}
            connection.execute(insert(schema.executed_signature).values(signature))
    assert forget(store, Days(), NOW) == {"idempotency": 1, "executed_signature": 1}
    assert _ids(store, schema.executed_signature) == ["new"]


def test_what_ended_goes_with_all_that_it_owned(store: Store) -> None:
    with store.write() as connection:
        put_endpoint(connection, "1", ended_at=NOW - 2 * HOUR)
        put_association(connection, "gone", "1", ended_at=NOW - 2 * HOUR)
        put_connection(connection, "gone", "1", ended_at=NOW - 2 * HOUR)
        connection.execute(insert(schema.crl).values(endpoint_id="1", pem="", status_code="active", imported_at=0))
        for resource in ("1", "gone", "other"):
            tagged = {"resource_id": resource, "resource_type": "", "key": "k", "value": "v"}
            connection.execute(insert(schema.tag).values(tagged))
    assert forget(store, Days(), NOW) == {"connection": 1, "association": 1, "endpoint": 1}
    assert _ids(store, schema.crl) == []
    assert _ids(store, schema.tag) == ["other"]


@pytest.mark.parametrize("ended_at", [None, NOW - 1])
def test_an_endpoint_stays_while_something_of_it_is_described(store: Store, ended_at: float | None) -> None:
    with store.write() as connection:
        put_endpoint(connection, "1", ended_at=NOW - 2 * HOUR)
        put_endpoint(connection, "2", ended_at=NOW - 2 * HOUR)
        put_connection(connection, "kept", "1", ended_at=ended_at)
        put_association(connection, "kept", "2", ended_at=ended_at)
    assert forget(store, Days(), NOW) == {}
    assert _ids(store, schema.endpoint) == ["1", "2"]


def test_what_lives_stays_however_old(store: Store) -> None:
    with store.write() as connection:
        put_endpoint(connection, "1")
        put_association(connection, "a", "1")
    assert forget(store, Days(), NOW) == {}


def test_any_number_of_rows_goes_and_no_transaction_takes_more_than_its_share(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    with store.write() as connection:
        rows = [{"signature": f"{number:02}", "expires_at": 0} for number in range(35)]
        connection.execute(insert(schema.executed_signature), rows)
    deleted: list[int] = []
    forget_batch = retention._forget_batch

    def counted(*args: Any) -> int:
        deleted.append(forget_batch(*args))
        return deleted[-1]

    monkeypatch.setattr(retention, "_forget_batch", counted)
    assert forget(store, Days(), NOW) == {"executed_signature": 35}
    assert [count for count in deleted if count] == [10, 10, 10, 5]


def test_forgetting_concerns_no_gateway(store: Store) -> None:
    with store.write() as connection:
        put_usage(connection, "old")
    before = store.counter()
    assert forget(store, Days(), NOW) == {"usage": 1}
    assert store.counter() == before
