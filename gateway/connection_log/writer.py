"""Brings the records of one sink there, without ever making traffic wait.

    offer() ▶ bounded queue ▶ a thread that may block ▶ sink

A full queue loses the newest record and counts it. A sink that fails is tried again, with growing pauses, with the
very line that it refused. When a sink takes lines again, a `records-lost` line in the log says how many are missing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import trio

from gateway.connection_log.record import ConnectionRecord, build_line, build_loss_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.connection_log.sinks import Sink

__all__ = ["SinkStatus", "SinkWriter"]

BATCH_LINES = 500
"""Lines for one trip to the thread, so that `reopen` is never far away."""
GATHER_S = 0.1
"""How long a record may wait for others."""
PACE_S = 0.5
"""From one trip to the thread to the next while records come all the time: a trip costs as much as thirty lines."""
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 30.0

logger = structlog.get_logger("connection_log")


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """How one sink fares, for `portway status`."""

    name: str
    queued: int
    lost: int
    """Records that never reached this sink since the daemon started."""
    failing: str | None
    """What the sink last said, while it takes no lines."""
    groups: tuple[str, ...] = ()
    """The log groups that it belongs to."""


class SinkWriter:
    """The queue before one sink, and the task that empties it."""

    def __init__(self, sink: Sink, node: str, queue_lines: int, unix_time: Callable[[], float]) -> None:
        self._sink = sink
        self._node = node
        self._queue_lines = queue_lines
        self._unix_time = unix_time
        self._queue: deque[ConnectionRecord | bytes] = deque()
        self._unreported = 0
        self._lost = 0
        self._failing: str | None = None
        self._reopen = False
        self._wanted = sink
        self._scope: trio.CancelScope | None = None
        self._busy = trio.Event()
        self._idle = trio.Event()
        self._idle.set()
        self._awaited = trio.Event()
        self._next_trip = float("-inf")
        self._thread = trio.CapacityLimiter(1)

    def offer(self, record: ConnectionRecord) -> None:
        """Queue one record, or count it as lost."""
        if len(self._queue) >= self._queue_lines:
            self._lost += 1
            self._unreported += 1
            return
        self._queue.append(record)
        if not self._busy.is_set():
            self._busy.set()
            self._idle = trio.Event()

    def reopen(self) -> None:
        """Reopen the sink before the next line."""
        self._reopen = True

    def adopt(self, sink: Sink) -> None:
        """Have another sink of the same name take over before the next line, if it differs."""
        if sink.manner != self._wanted.manner:
            self._wanted = sink

    def close(self) -> None:
        """End `run`, and let go of the sink, unless a thread still waits for it."""
        if self._scope is not None:
            self._scope.cancel()
        if not self._queue:
            self._sink.close()

    def hurry(self) -> None:
        """Do not gather: what is queued goes to the sink now."""
        self._awaited.set()

    async def idle(self) -> None:
        """Wait until nothing is queued."""
        await self._idle.wait()

    def status(self) -> SinkStatus:
        """How this sink fares."""
        return SinkStatus(self._sink.name, len(self._queue), self._lost, self._failing)

    async def run(self) -> None:
        """Write until cancelled. A thread that hangs in the sink is left behind: it must not hold up the end."""
        with trio.CancelScope() as self._scope:
            await self._write()

    async def _write(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            await self._busy.wait()
            with trio.move_on_at(max(trio.current_time() + GATHER_S, self._next_trip)):
                await self._awaited.wait()
            try:
                await trio.to_thread.run_sync(self._write_batch, abandon_on_cancel=True, limiter=self._thread)
            except OSError as error:
                self._note_failure(error)
                await trio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_MOST_S)
                continue
            pause_s = RETRY_FIRST_S
            self._note_success()

    def _write_batch(self) -> None:
        """Write what is queued, each record leaving the queue once it is written. Runs in the thread.

        Records become lines here: many at once cost a fraction of what each would cost amid everything else.
        Only this thread takes from the left of the queue and only the trio thread appends to its right, which
        `deque` allows without a lock.
        """
        wanted = self._wanted
        if wanted is not self._sink:
            self._sink.close()
            self._sink = wanted
        if self._reopen:
            self._reopen = False
            self._sink.reopen()
        for _ in range(min(len(self._queue), BATCH_LINES)):
            first = self._queue[0]
            self._sink.write(first if isinstance(first, bytes) else build_line(first))
            self._queue.popleft()

    def _note_failure(self, error: OSError) -> None:
        if self._failing is None:
            logger.error("connection log sink fails", sink=self._sink.name, error=str(error))
        self._failing = str(error)

    def _note_success(self) -> None:
        if self._failing is not None:
            logger.info("connection log sink works again", sink=self._sink.name, lost_records=self._unreported)
            self._failing = None
        if self._unreported:
            self._queue.append(build_loss_line(self._unreported, self._node, self._unix_time()))
            self._unreported = 0
        if not self._queue:
            self._busy = trio.Event()
            self._awaited = trio.Event()
            self._next_trip = trio.current_time() + PACE_S
            self._idle.set()
