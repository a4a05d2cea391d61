"""Sinks in memory, and a connection log that runs."""

from __future__ import annotations

import json
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from gateway.connection_log import ConnectionLog, Sink
from policy import DEFAULT_LOG_GROUP
from tests.unit.gateway.connection_log.test_record import FAILED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RECORD = replace(FAILED, log_group=DEFAULT_LOG_GROUP)


class MemorySink:
    """Keeps lines; refuses them while `error` is set, and hangs while `gate` is shut."""

    def __init__(self, name: str = "memory", manner: tuple[object, ...] = ()) -> None:
        self.name = name
        self.manner = manner
        self.lines: list[bytes] = []
        self.error: OSError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.reopened = 0
        self.closed = False

    def write(self, line: bytes) -> None:
        self.gate.wait()
        if self.error:
            raise self.error
        self.lines.append(line)

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def running(*sinks: Sink, queue_lines: int = 100, **groups: tuple[Sink, ...]) -> AsyncIterator[ConnectionLog]:
    """A log whose default group has these sinks, with other groups beside it."""
    all_groups = {DEFAULT_LOG_GROUP: sinks, **groups}
    log = ConnectionLog(all_groups, node="gw1", queue_lines=queue_lines, unix_time=lambda: 0.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        yield log
        nursery.cancel_scope.cancel()


def types(sink: MemorySink) -> list[str]:
    """The kinds of records that a sink has."""
    return [json.loads(line)["connection-log-type"] for line in sink.lines]
