"""Keeps the store's picture of this node's connections: who is connected, what they have moved, what they are charged.

    connection log ▶ follow ─┐
    live counters ───────────┴▶ Backlog ▶ one transaction, in a thread ▶ connection, connection_event, usage

Traffic never waits for it: a record costs a few dictionary entries, everything else happens a moment later in a thread.
What is news is in the store half a second later; counters of sessions that move something follow every five seconds, so
that a thousand sessions are one `executemany`. While the store is away the newest state of each connection is kept, and
written when it is back.

Of the connection log the store has attempts and ends. The refreshes in between, most of all records, are not kept as
lines: they are what the connection's own row shows.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
import trio
from sqlalchemy.exc import OperationalError, StatementError

from gateway.managed.accounting import account_associations
from gateway.managed.backlog import Backlog, Batch, Lost
from gateway.managed.connection_rows import end_orphans, note_seen, without_known_events, write_batch
from gateway.sessions import counters_of
from gateway.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import NoReturn

    from sqlalchemy import Connection

    from gateway.connection_log import ConnectionRecord, Counters
    from gateway.endpoint import Endpoint
    from gateway.store import Store

__all__ = ["MirrorStatus", "StoreMirror", "live_counters"]

GATHER_S: Final = 0.5
"""How long news waits for more of its kind: clients come in crowds, and a transaction waits for the disk."""
REFRESH_S: Final = 5.0
"""How often counters are read, and how much of a connection's time a kill can leave unaccounted."""
ACCOUNT_S: Final = 60.0
"""How often associations are looked after here, beside those who change them."""
RETRY_FIRST_S: Final = 1.0
RETRY_MOST_S: Final = 10.0

logger = structlog.get_logger("store")


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """How the picture in the store fares, for status, health and metrics."""

    waiting: int
    """Rows that are not in the store yet."""
    lost: Lost
    failing: str | None
    """What the store last said, while it takes nothing."""
    written_at: float | None
    """Unix time of the last write that worked."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What one transaction does."""

    batch: Batch
    now: float
    live: tuple[str, ...] = ()
    """The connections that go on, to be noted as seen; empty for none to be noted."""
    known: frozenset[str] | None = None
    """With it, whatever else this node has open in the store is ended; None once that is done."""
    accounts: bool = False
    """Look after associations as well."""
    repeats: bool = False
    """A transaction before it may have happened without anybody knowing."""


@dataclass(frozen=True, slots=True)
class _Result:
    homeless: frozenset[str]
    refused: tuple[Batch, ...] = ()


def live_counters(endpoints: Iterable[Endpoint]) -> Iterator[tuple[str, Counters]]:
    """What each established session has moved so far, by connection id."""
    for endpoint in endpoints:
        for session in endpoint.sessions.leased:
            if session.established_at is not None and session.lease is not None:
                yield session.connection_id, counters_of(endpoint.plane.traffic(session.lease.peer_id))


class StoreMirror:
    """Brings what happens to sessions to the store."""

    def __init__(
        self,
        store: Store,
        counters: Callable[[], Iterable[tuple[str, Counters]]],
        *,
        node: str,
        backlog: Backlog | None = None,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        """`counters` gives what each session has moved: `live_counters` of a fleet's endpoints."""
        self._store = store
        self._counters = counters
        self._node = node
        self._backlog = backlog or Backlog()
        self._unix_time = unix_time
        self._news = trio.Event()
        self._writing = trio.Lock()
        self._refresh_moment = float("-inf")
        self._account_moment = float("-inf")
        self._orphans_ended = False
        self._failing: str | None = None
        self._written_at: float | None = None

    def note(self, record: ConnectionRecord) -> None:
        """Take a record of the connection log: `ConnectionLog.follow` this. Returns at once."""
        if self._backlog.note(record):
            self._news.set()

    def status(self) -> MirrorStatus:
        """How it fares."""
        return MirrorStatus(self._backlog.size, self._backlog.lost, self._failing, self._written_at)

    async def run(self) -> NoReturn:
        """Write what there is until cancelled; `finish` writes the rest."""
        pause_s = RETRY_FIRST_S
        while True:
            await self._wait_for_work()
            try:
                await self.write()
            except StoreError:
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MOST_S)
            else:
                pause_s = RETRY_FIRST_S

    async def finish(self, timeout_s: float) -> None:
        """Write what is left once all sessions have ended, while `run` still runs, but not longer than `timeout_s`."""
        with trio.move_on_after(timeout_s), contextlib.suppress(StoreError):
            await self.write()
        if self._backlog.size:
            logger.error("the gateway ends before the store has everything", rows=self._backlog.size)

    async def write(self) -> None:
        """Bring what waits to the store now. Raises `StoreError`, and keeps what could not be written."""
        async with self._writing:
            if trio.current_time() >= self._refresh_moment:
                await self._refresh()
            while batch := self._backlog.batch():
                await self._carry_out(_Work(batch, self._unix_time(), repeats=self._is_unsure))
                if not batch.is_full:
                    break  # what has come meanwhile waits for more of its kind

    async def _wait_for_work(self) -> None:
        with trio.move_on_at(self._refresh_moment):
            await self._news.wait()
            await trio.sleep(GATHER_S)
        self._news = trio.Event()

    async def _refresh(self) -> None:
        moment, now = trio.current_time(), self._unix_time()
        self._backlog.measure(self._counters())
        self._backlog.try_again(now)
        accounts = moment >= self._account_moment
        known = None if self._orphans_ended else self._backlog.known
        work = _Work(self._backlog.batch(), now, self._backlog.live, known, accounts, self._is_unsure)
        if work.batch or work.live or accounts or known is not None:
            await self._carry_out(work)
        self._orphans_ended = True
        self._refresh_moment = moment + REFRESH_S
        if accounts:
            self._account_moment = moment + ACCOUNT_S

    @property
    def _is_unsure(self) -> bool:
        """Whether the last write may have worked, be it that of a mirror before this one."""
        return self._written_at is None or self._failing is not None

    async def _carry_out(self, work: _Work) -> None:
        try:
            result = await trio.to_thread.run_sync(self._transact, work, abandon_on_cancel=True)
        except StoreError as error:
            if self._failing is None:
                logger.error("the store takes no connections", error=str(error))  # noqa: TRY400 - its sentence is enough
            self._failing = str(error)
            raise
        if self._failing is not None:
            logger.info("the store takes connections again")
        self._failing, self._written_at = None, work.now
        for batch in result.refused:
            self._backlog.refused(batch)
        self._backlog.written(work.batch, result.homeless)

    # In the thread

    def _transact(self, work: _Work) -> _Result:
        try:
            with self._store.write(affects_gateways=False) as transaction:
                self._keep_books(transaction, work)
                batch = without_known_events(transaction, work.batch) if work.repeats else work.batch
                return _Result(write_batch(transaction, batch, node=self._node, now=work.now))
        except StatementError as error:
            logger.warning("the database refuses what was to be written; row by row", error=str(error.orig))
        with self._store.write(affects_gateways=False) as transaction:
            return self._write_singly(transaction, work)

    def _keep_books(self, transaction: Connection, work: _Work) -> None:
        if work.known is not None:
            orphans = end_orphans(transaction, self._node, work.known)
            if orphans:
                logger.info("connections of a former process ended", connections=len(orphans))
        if work.live:
            note_seen(transaction, work.live, work.now)
        if work.accounts:
            account_associations(transaction, work.now)

    def _write_singly(self, transaction: Connection, work: _Work) -> _Result:
        """Write what the database takes, and say what it does not: that must not keep the rest out for ever."""
        homeless: set[str] = set()
        refused: list[Batch] = []
        for row in work.batch.rows():
            try:
                with transaction.begin_nested():
                    homeless |= write_batch(transaction, row, node=self._node, now=work.now)
            except OperationalError:
                raise
            except StatementError:
                logger.exception("the database refuses a row", row=row)
                refused.append(row)
        return _Result(frozenset(homeless), tuple(refused))
