"""What happened to sessions and is not in the store yet: bounded, coalesced, and free of any database.

    records, counters ▶ Backlog ▶ Batch ▶ written: what has not changed meanwhile is forgotten

Of a connection only the newest state is kept, so that a store that is away for an hour costs no more than what
there is to say in the end. Where even that is too much, the oldest is lost and counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from gateway.connection_log import AttemptStatus, RecordType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.connection_log import ConnectionRecord, Counters

__all__ = ["Backlog", "Batch", "Lost"]

MAX_EVENTS = 20_000
"""Records of the connection log that wait: about 20 MB."""
MAX_ENDED = 50_000
"""Connections that ended while the store was away: about 50 MB. Those that run are as many as there are sessions."""
BATCH_ROWS = 1000
"""Of each kind, so that one write transaction holds up others for some ten milliseconds."""
ENDED_FOR_S = 3600.0
"""How long an ended connection is listed. Where its endpoint has not appeared by then, there is nothing to list."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction brings to the store."""

    states: tuple[ConnectionRecord, ...] = ()
    """The newest record of each connection that has begun, changed or ended."""
    counters: tuple[tuple[str, Counters], ...] = ()
    """Connections that go on and have moved something, by id."""
    events: tuple[ConnectionRecord, ...] = ()
    """Lines of the connection log, in order."""
    lost_events: int = 0
    """Lines that are missing before these."""

    def __bool__(self) -> bool:
        return bool(self.states or self.counters or self.events or self.lost_events)

    @property
    def is_full(self) -> bool:
        """Whether more may have waited than it could take."""
        return max(len(self.states), len(self.counters), len(self.events)) >= BATCH_ROWS

    def rows(self) -> Iterator[Batch]:
        """The same row by row, to find what the database refuses."""
        if self.lost_events:
            yield Batch(lost_events=self.lost_events)
        yield from (Batch(states=(state,)) for state in self.states)
        yield from (Batch(counters=(counters,)) for counters in self.counters)
        yield from (Batch(events=(event,)) for event in self.events)


@dataclass(frozen=True, slots=True)
class Lost:
    """What never reached the store since the daemon started."""

    events: int = 0
    connections: int = 0


class Backlog:
    """Takes what happens, and gives it away in batches."""

    def __init__(self, *, max_events: int = MAX_EVENTS, max_ended: int = MAX_ENDED) -> None:
        self._max_events = max_events
        self._max_ended = max_ended
        self._live: dict[str, Counters] = {}
        self._running: dict[str, ConnectionRecord] = {}
        self._ended: dict[str, ConnectionRecord] = {}
        self._homeless: dict[str, ConnectionRecord] = {}
        self._counters: dict[str, Counters] = {}
        self._events: deque[ConnectionRecord] = deque()
        self._unreported = 0
        self._lost_events = 0
        self._lost_connections = 0

    @property
    def live(self) -> tuple[str, ...]:
        """The connections that have been established and have not ended."""
        return tuple(self._live)

    @property
    def known(self) -> frozenset[str]:
        """The connections of which there is still something to say."""
        return frozenset(self._live).union(self._ended, self._homeless)

    @property
    def size(self) -> int:
        """How many rows wait."""
        waiting = (self._running, self._ended, self._homeless, self._counters, self._events)
        return sum(len(rows) for rows in waiting)

    @property
    def lost(self) -> Lost:
        """What did not fit, or was refused."""
        return Lost(self._lost_events, self._lost_connections)

    def note(self, record: ConnectionRecord) -> bool:
        """Take a record of the connection log; whether it is news, and not just new counters of a connection."""
        connection_id = record.connection_id
        if record.record_type is RecordType.RESET:
            self._note_end(record)
        elif record.attempt_status is AttemptStatus.SUCCESSFUL:
            known = connection_id in self._live
            self._live[connection_id] = record.counters
            self._running[connection_id] = record
            self._counters.pop(connection_id, None)
            if known:
                return False
        self._note_event(record)
        return True

    def measure(self, counters: Iterable[tuple[str, Counters]]) -> None:
        """Take what sessions have moved so far; only what has changed is worth a write."""
        for connection_id, now in counters:
            if self._live.get(connection_id, now) != now:
                self._live[connection_id] = self._counters[connection_id] = now

    def batch(self) -> Batch:
        """What is to be written next. It stays here until `written`."""
        states = (*islice(self._running.values(), BATCH_ROWS), *islice(self._ended.values(), BATCH_ROWS))
        return Batch(
            states,
            tuple(islice(self._counters.items(), BATCH_ROWS)),
            tuple(islice(self._events, BATCH_ROWS)),
            self._unreported,
        )

    def written(self, batch: Batch, homeless: Iterable[str] = ()) -> None:
        """Forget what is in the store now, but for what has changed since.

        `homeless` are connections whose endpoint the store does not know yet: they wait for `try_again`.
        """
        waiting = frozenset(homeless)
        for record in batch.states:
            if record.connection_id in waiting:
                self._homeless[record.connection_id] = record
            _forget(self._running, record.connection_id, record)
            _forget(self._ended, record.connection_id, record)
        for connection_id, counters in batch.counters:
            _forget(self._counters, connection_id, counters)
        for _ in batch.events:
            self._events.popleft()
        self._unreported -= batch.lost_events

    def try_again(self, now: float) -> None:
        """Let what waits for its endpoint be written with the next batch, unless that has become pointless."""
        homeless, self._homeless = self._homeless, {}
        for connection_id, record in homeless.items():
            if record.ended_at is None:
                if connection_id in self._live:
                    self._running.setdefault(connection_id, record)
            elif now - record.ended_at < ENDED_FOR_S:
                self._add_ended(record)

    def refused(self, batch: Batch) -> None:
        """The database does not take these, and never will; they count as written."""
        self._lost_connections += len(batch.states)
        self._lost_events += len(batch.events)

    def _note_end(self, record: ConnectionRecord) -> None:
        for former in (self._live, self._running, self._homeless, self._counters):
            former.pop(record.connection_id, None)
        self._add_ended(record)

    def _add_ended(self, record: ConnectionRecord) -> None:
        self._ended[record.connection_id] = record
        if len(self._ended) > self._max_ended:
            del self._ended[next(iter(self._ended))]
            self._lost_connections += 1

    def _note_event(self, record: ConnectionRecord) -> None:
        if len(self._events) < self._max_events:
            self._events.append(record)
        else:
            self._lost_events += 1
            self._unreported += 1


def _forget(waiting: dict[str, _Value], key: str, written: _Value) -> None:
    if waiting.get(key) is written:
        del waiting[key]
