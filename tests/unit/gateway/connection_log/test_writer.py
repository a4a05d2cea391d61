import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gateway.connection_log import ConnectionLog, ConnectionRecord, Sink
from tests.unit.gateway.connection_log.test_record import FAILED


class MemorySink:
    """Keeps lines; refuses them while `error` is set, and hangs while `gate` is shut."""

    name = "memory"

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.error: OSError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.reopened = 0

    def write(self, line: bytes) -> None:
        self.gate.wait()
        if self.error:
            raise self.error
        self.lines.append(line)

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        pass


@asynccontextmanager
async def running(*sinks: Sink, queue_lines: int = 100) -> AsyncIterator[ConnectionLog]:
    log = ConnectionLog(sinks, node="gw1", queue_lines=queue_lines, unix_time=lambda: 0.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        yield log
        nursery.cancel_scope.cancel()


def types(sink: MemorySink) -> list[str]:
    return [json.loads(line)["connection-log-type"] for line in sink.lines]


async def test_every_sink_gets_every_record() -> None:
    first, second = MemorySink(), MemorySink()
    async with running(first, second) as log:
        log.write(FAILED)
        log.write(FAILED)
        await log.drain(5)
    assert types(first) == types(second) == ["connection-attempt"] * 2


async def test_a_sink_that_hangs_holds_up_neither_the_caller_nor_another_sink() -> None:
    hanging, healthy = MemorySink(), MemorySink()
    hanging.gate.clear()
    try:
        async with running(hanging, healthy, queue_lines=3) as log:
            for _ in range(5):
                log.write(FAILED)
                await log.drain(0.01)
            assert types(healthy) == ["connection-attempt"] * 5
            status = {entry.lost for entry in log.status()}
            assert status == {0, 2}
    finally:
        hanging.gate.set()


async def test_what_a_hanging_sink_lost_is_said_in_the_log_when_it_recovers() -> None:
    sink = MemorySink()
    sink.gate.clear()
    async with running(sink, queue_lines=3) as log:
        for _ in range(5):
            log.write(FAILED)
        sink.gate.set()
        await log.drain(5)
        assert log.status()[0].lost == 2
    assert types(sink) == ["connection-attempt"] * 3 + ["records-lost"]
    assert json.loads(sink.lines[-1])["lost-records"] == "2"


async def test_a_sink_that_fails_is_tried_again_with_the_same_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.connection_log.writer.RETRY_FIRST_S", 0.01)
    sink = MemorySink()
    sink.error = OSError(28, "No space left on device")
    async with running(sink) as log:
        log.write(FAILED)
        while log.status()[0].failing is None:  # noqa: ASYNC110 - a thread makes it true
            await trio.sleep(0.01)
        assert "No space left" in str(log.status()[0].failing)
        sink.error = None
        await log.drain(60)
        assert log.status()[0].failing is None
    assert types(sink) == ["connection-attempt"]


async def test_reopen_happens_before_the_next_record() -> None:
    sink = MemorySink()
    async with running(sink) as log:
        log.reopen()
        log.write(FAILED)
        await log.drain(5)
    assert sink.reopened == 1


async def test_draining_gives_up_on_a_sink_that_hangs(autojump_clock: trio.testing.MockClock) -> None:
    sink = MemorySink()
    sink.gate.clear()
    try:
        async with running(sink) as log:
            log.write(FAILED)
            await log.drain(2)
            assert log.status()[0].queued == 1
    finally:
        sink.gate.set()


async def test_records_gather_until_somebody_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.connection_log.writer.GATHER_S", 3600)
    sink = MemorySink()
    async with running(sink) as log:
        for _ in range(2):
            log.write(FAILED)
            await trio.testing.wait_all_tasks_blocked()
            assert log.status()[0].queued == 1
            await log.drain(60)
            assert log.status()[0].queued == 0
    assert types(sink) == ["connection-attempt"] * 2


async def test_records_go_to_the_sink_though_nobody_waits_for_them() -> None:
    sink = MemorySink()
    async with running(sink) as log:
        log.write(FAILED)
        while log.status()[0].queued:  # noqa: ASYNC110 - a thread makes it so
            await trio.sleep(0.01)
    assert types(sink) == ["connection-attempt"]


async def test_a_follower_hears_of_a_record_at_once_and_its_faults_are_its_own() -> None:
    heard: list[ConnectionRecord] = []

    def fail(record: ConnectionRecord) -> None:
        raise ZeroDivisionError(record.connection_id)

    log = ConnectionLog((), node="gw1")
    log.follow(fail)
    log.follow(heard.append)
    log.write(FAILED)
    assert heard == [FAILED]
