"""Whatever happens to gateway and store in between, each connection is accounted as far as anybody could have known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from gateway.managed.mirror import StoreMirror
from gateway.store import StoreUnavailableError
from gateway.store.schema import connection, connection_event, endpoint, usage
from tests.unit.gateway.actions.rows import add_endpoint
from tests.unit.gateway.managed.rows import NODE, T0, ended, established, rows
from tests.unit.gateway.managed.test_mirror import AwayStore

if TYPE_CHECKING:
    from gateway.connection_log import ConnectionRecord
    from gateway.store import Store

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(1, 900)),
        st.tuples(st.just("write"), st.just(0)),
        st.tuples(st.just("kill"), st.just(0)),
        st.tuples(st.just("leave"), st.integers(0, 1)),
    ),
    max_size=40,
)


class Books:
    """A gateway that can be killed, and what should come to be known of its connections."""

    def __init__(self, store: Store) -> None:
        self.store = AwayStore(store)
        self.now = T0 + 0.25
        self.begun: dict[str, float] = {}
        self.live: dict[str, ConnectionRecord] = {}
        self.unwritten_ends: dict[str, float] = {}
        self.known: dict[str, float] = {}
        """Until when each connection has lasted, as far as the store was told."""
        self._start_gateway()

    def _start_gateway(self) -> None:
        self.mirror = StoreMirror(self.store, tuple, node=NODE, unix_time=lambda: self.now)

    def begin(self, _: int) -> None:
        record = established(len(self.begun), self.now)
        self.begun[record.connection_id] = self.now
        self.live[record.connection_id] = record
        self.mirror.note(record)

    def end(self, which: int) -> None:
        for record in list(self.live.values())[which : which + 1]:
            del self.live[record.connection_id]
            self.unwritten_ends[record.connection_id] = self.now
            self.mirror.note(ended(record, self.now))

    def wait(self, tenths: int) -> None:
        self.now += tenths / 10

    def kill(self, _: int) -> None:
        self.live.clear()
        self.unwritten_ends.clear()
        self._start_gateway()

    def leave(self, away: int) -> None:
        self.store.away = bool(away)

    def write(self, _: int) -> None:
        self.mirror._refresh_moment = float("-inf")
        try:
            trio.run(self.mirror.write)
        except StoreUnavailableError:
            assert self.store.away
            return
        for connection_id in self.live:
            self.known[connection_id] = self.now if connection_id in self.known else self.begun[connection_id]
        self.known |= self.unwritten_ends
        self.unwritten_ends.clear()

    def close(self) -> None:
        """A last gateway that finds what the others have left."""
        self.leave(0)
        self.kill(0)
        self.write(0)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_every_connection_is_accounted_until_it_ended_or_was_last_seen(
    store: Store, steps: list[tuple[str, int]]
) -> None:
    with store.write() as transaction:
        for table in (connection, connection_event, usage, endpoint):
            transaction.execute(delete(table))
    add_endpoint(store)
    books = Books(store)
    for step, argument in steps:
        getattr(books, step)(argument)
    books.close()
    accounts = {row["id"]: (row["started_at"], row["ended_at"]) for row in rows(store, usage)}
    assert accounts == {
        connection_id: (int(books.begun[connection_id]), int(until)) for connection_id, until in books.known.items()
    }
    listed = {row["id"]: int(row["ended_at"]) for row in rows(store, connection)}
    assert listed == {connection_id: end for connection_id, (_, end) in accounts.items()}
