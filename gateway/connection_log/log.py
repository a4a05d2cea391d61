"""The connection log as a whole: log groups, and the sinks that each of them has.

    write() ─┬▶ the record's log group ▶ its sinks, each with a writer of its own
             └▶ followers

Groups may share a sink, and change while records come. A record without a group goes to followers only; one whose group
is not there goes to the group that always is.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
import trio

from gateway.connection_log.writer import SinkStatus, SinkWriter
from policy import DEFAULT_LOG_GROUP

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from gateway.connection_log.record import ConnectionRecord
    from gateway.connection_log.sinks import Sink

__all__ = ["ConnectionLog"]

QUEUE_LINES = 10_000
"""At most 10 MB for each sink: ten thousand clients can connect while the sink is away."""
LEAVE_S = 5.0
"""How long a sink that belongs to no group any more may take for what is queued for it."""

logger = structlog.get_logger("connection_log")


class ConnectionLog:
    """The connection log of the daemon."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[Sink]],
        *,
        node: str,
        queue_lines: int = QUEUE_LINES,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        """`groups` are the sinks of each log group, `DEFAULT_LOG_GROUP` among them."""
        self._node = node
        self._queue_lines = queue_lines
        self._unix_time = unix_time
        self._groups: dict[str, tuple[SinkWriter, ...]] = {}
        self._writers: dict[str, SinkWriter] = {}
        self._leaving: dict[str, SinkWriter] = {}
        self._followers: list[Callable[[ConnectionRecord], None]] = []
        self._nursery: trio.Nursery | None = None
        self.adopt(groups)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the log groups."""
        return tuple(self._groups)

    def adopt(self, groups: Mapping[str, Sequence[Sink]]) -> None:
        """Have these groups from now on. A sink that stays keeps its queue; one that goes gets what it waits for."""
        before, self._writers = self._writers, {}
        for sinks in groups.values():
            for sink in sinks:
                self._writers[sink.name] = self._writer(sink, before)
        self._groups = {name: tuple(self._writers[sink.name] for sink in sinks) for name, sinks in groups.items()}
        for name, writer in before.items():
            if name not in self._writers:
                self._leaving[name] = writer
                self._start(self._see_off, name, writer)

    def follow(self, follower: Callable[[ConnectionRecord], None]) -> None:
        """Give every record from now on to this one as well, the moment it is written; it has to return at once."""
        self._followers.append(follower)

    def write(self, record: ConnectionRecord) -> None:
        """Queue the record for the sinks of its group. Returns at once and never fails."""
        if record.log_group is not None:
            for writer in self._groups.get(record.log_group, self._groups.get(DEFAULT_LOG_GROUP, ())):
                writer.offer(record)
        for follower in self._followers:
            _tell(follower, record)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bring lines to the sinks until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                for writer in (*self._writers.values(), *self._leaving.values()):
                    self._nursery.start_soon(writer.run)
                for name, writer in self._leaving.items():
                    self._nursery.start_soon(self._see_off, name, writer)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    async def drain(self, timeout_s: float) -> None:
        """Wait until everything queued has been written, but not longer than `timeout_s`."""
        writers = (*self._writers.values(), *self._leaving.values())
        for writer in writers:
            writer.hurry()
        with trio.move_on_after(timeout_s):
            for writer in writers:
                await writer.idle()
        for writer in writers:
            _complain(writer.status())

    def reopen(self) -> None:
        """Have every sink reopen its file before its next line: what SIGHUP means to logrotate."""
        for writer in self._writers.values():
            writer.reopen()

    def status(self) -> tuple[SinkStatus, ...]:
        """How the sinks fare."""
        return tuple(
            replace(writer.status(), groups=tuple(name for name, writers in self._groups.items() if writer in writers))
            for writer in self._writers.values()
        )

    def _writer(self, sink: Sink, before: Mapping[str, SinkWriter]) -> SinkWriter:
        """The writer that there is for a sink, wherever it comes from, or a new one."""
        name = sink.name
        known = self._writers.get(name) or before.get(name) or self._leaving.pop(name, None)
        if known is not None:
            known.adopt(sink)
            return known
        writer = SinkWriter(sink, self._node, self._queue_lines, self._unix_time)
        self._start(writer.run)
        return writer

    async def _see_off(self, name: str, writer: SinkWriter) -> None:
        """Let a writer end its work, unless it is needed again meanwhile."""
        writer.hurry()
        with trio.move_on_after(LEAVE_S):
            await writer.idle()
        if self._leaving.get(name) is writer:
            del self._leaving[name]
            writer.close()
            _complain(writer.status())

    def _start(self, task: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Begin a task, as `run` does with all of them when it begins."""
        if self._nursery is not None:
            self._nursery.start_soon(task, *arguments)


def _complain(status: SinkStatus) -> None:
    if status.queued:
        logger.error("connection log ends with records unwritten", sink=status.name, records=status.queued)


def _tell(follower: Callable[[ConnectionRecord], None], record: ConnectionRecord) -> None:
    """A fault of the follower's is not the session's that the record is about."""
    try:
        follower(record)
    except Exception:
        logger.exception("a connection record could not be followed", connection_id=record.connection_id)
