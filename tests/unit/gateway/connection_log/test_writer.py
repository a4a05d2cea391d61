import json

import pytest
import trio
import trio.testing

from tests.unit.gateway.connection_log.memory import RECORD, MemorySink, running, types


async def test_every_sink_gets_every_record() -> None:
    first, second = MemorySink("first"), MemorySink("second")
    async with running(first, second) as log:
        log.write(RECORD)
        log.write(RECORD)
        await log.drain(5)
    assert types(first) == types(second) == ["connection-attempt"] * 2


async def test_a_sink_that_hangs_holds_up_neither_the_caller_nor_another_sink() -> None:
    hanging, healthy = MemorySink("hanging"), MemorySink("healthy")
    hanging.gate.clear()
    try:
        async with running(hanging, healthy, queue_lines=3) as log:
            for _ in range(5):
                log.write(RECORD)
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
            log.write(RECORD)
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
        log.write(RECORD)
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
        log.write(RECORD)
        await log.drain(5)
    assert sink.reopened == 1


async def test_draining_gives_up_on_a_sink_that_hangs(autojump_clock: trio.testing.MockClock) -> None:
    sink = MemorySink()
    sink.gate.clear()
    try:
        async with running(sink) as log:
            log.write(RECORD)
            await log.drain(2)
            assert log.status()[0].queued == 1
    finally:
        sink.gate.set()


async def test_records_gather_until_somebody_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.connection_log.writer.GATHER_S", 3600)
    sink = MemorySink()
    async with running(sink) as log:
        for _ in range(2):
            log.write(RECORD)
            await trio.testing.wait_all_tasks_blocked()
            assert log.status()[0].queued == 1
            await log.drain(60)
            assert log.status()[0].queued == 0
    assert types(sink) == ["connection-attempt"] * 2


async def test_records_go_to_the_sink_though_nobody_waits_for_them() -> None:
    sink = MemorySink()
    async with running(sink) as log:
        log.write(RECORD)
        while log.status()[0].queued:  # noqa: ASYNC110 - a thread makes it so
            await trio.sleep(0.01)
    assert types(sink) == ["connection-attempt"]


async def test_a_record_that_follows_closely_on_others_waits_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.connection_log.writer.GATHER_S", 0.001)
    monkeypatch.setattr("gateway.connection_log.writer.PACE_S", 3600)
    sink = MemorySink()
    async with running(sink) as log:
        log.write(RECORD)
        await log._writers[sink.name].idle()
        for expected in (1, 2):
            log.write(RECORD)
            await trio.sleep(0.01)
            assert log.status()[0].queued == expected
        await log.drain(60)
    assert types(sink) == ["connection-attempt"] * 3


async def test_a_sink_of_another_manner_takes_over_with_the_next_line() -> None:
    before, after = MemorySink("file"), MemorySink("file", manner=("larger",))
    async with running(before) as log:
        log.write(RECORD)
        await log.drain(5)
        log.adopt({"default": (after,)})
        log.write(RECORD)
        await log.drain(5)
    assert (types(before), types(after)) == (["connection-attempt"], ["connection-attempt"])
    assert (before.closed, after.closed) == (True, False)


async def test_a_sink_of_the_same_manner_changes_nothing() -> None:
    before, after = MemorySink("file"), MemorySink("file")
    async with running(before) as log:
        log.adopt({"default": (after,)})
        log.write(RECORD)
        await log.drain(5)
    assert (len(before.lines), len(after.lines)) == (1, 0)
    assert not before.closed
