from dataclasses import replace

import pytest
import trio
import trio.testing

from gateway.connection_log import ConnectionLog, ConnectionRecord
from tests.unit.gateway.connection_log.memory import RECORD, MemorySink, running, types

AUDIT = replace(RECORD, log_group="audit")
GONE = replace(RECORD, log_group="gone")
NOWHERE = replace(RECORD, log_group=None)


async def test_a_record_goes_to_the_sinks_of_its_own_group() -> None:
    usual, first, second = MemorySink("usual"), MemorySink("first"), MemorySink("second")
    async with running(usual, audit=(first, second)) as log:
        log.write(AUDIT)
        await log.drain(5)
    assert [len(sink.lines) for sink in (usual, first, second)] == [0, 1, 1]


async def test_a_record_of_a_group_that_is_not_there_goes_to_the_default() -> None:
    usual, other = MemorySink("usual"), MemorySink("other")
    async with running(usual, audit=(other,)) as log:
        log.write(GONE)
        await log.drain(5)
    assert [len(sink.lines) for sink in (usual, other)] == [1, 0]


async def test_a_record_without_a_group_goes_to_nobody_but_followers() -> None:
    sink = MemorySink()
    heard: list[ConnectionRecord] = []
    async with running(sink) as log:
        log.follow(heard.append)
        log.write(NOWHERE)
        await log.drain(5)
    assert (sink.lines, heard) == ([], [NOWHERE])


async def test_groups_that_name_the_same_sink_share_it() -> None:
    one, same = MemorySink("journal"), MemorySink("journal")
    async with running(one, audit=(same,)) as log:
        log.write(RECORD)
        log.write(AUDIT)
        await log.drain(5)
        (status,) = log.status()
    assert len(one.lines) + len(same.lines) == 2
    assert status.groups == ("default", "audit")


async def test_a_new_group_takes_records_at_once() -> None:
    usual, new = MemorySink("usual"), MemorySink("new")
    async with running(usual) as log:
        log.adopt({"default": (usual,), "audit": (new,)})
        assert log.groups == ("default", "audit")
        log.write(AUDIT)
        await log.drain(5)
    assert types(new) == ["connection-attempt"]


async def test_a_group_that_goes_gets_what_is_queued_for_it_and_is_let_go() -> None:
    usual, gone = MemorySink("usual"), MemorySink("gone")
    async with running(usual, gone=(gone,)) as log:
        log.write(GONE)
        log.adopt({"default": (usual,)})
        log.write(GONE)
        await log.drain(5)
        while not gone.closed:  # noqa: ASYNC110 - a thread makes it so
            await trio.sleep(0.01)
    assert [len(sink.lines) for sink in (gone, usual)] == [1, 1]


async def test_a_sink_that_hangs_is_left_behind_when_its_group_goes(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    usual, gone = MemorySink("usual"), MemorySink("gone")
    gone.gate.clear()
    try:
        async with running(usual, gone=(gone,)) as log:
            log.write(GONE)
            await trio.testing.wait_all_tasks_blocked()
            log.adopt({"default": (usual,)})
            await trio.sleep(6)
            assert not gone.closed
            assert "records unwritten" in capsys.readouterr().out
            assert [status.name for status in log.status()] == ["usual"]
    finally:
        gone.gate.set()


async def test_a_group_that_is_back_before_it_is_gone_goes_on() -> None:
    usual, back = MemorySink("usual"), MemorySink("back")
    async with running(usual, gone=(back,)) as log:
        log.adopt({"default": (usual,)})
        log.adopt({"default": (usual,), "gone": (back,)})
        await trio.testing.wait_all_tasks_blocked()
        log.write(GONE)
        await log.drain(5)
        assert not back.closed
    assert types(back) == ["connection-attempt"]


async def test_groups_may_change_before_the_log_runs() -> None:
    usual, late = MemorySink("usual"), MemorySink("late")
    log = ConnectionLog({"default": (usual,)}, node="gw1")
    log.adopt({"default": (usual,), "audit": (late,)})
    log.write(AUDIT)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        await log.drain(5)
        nursery.cancel_scope.cancel()
    assert types(late) == ["connection-attempt"]


async def test_a_follower_hears_of_a_record_at_once_and_its_faults_are_its_own() -> None:
    heard: list[ConnectionRecord] = []

    def fail(record: ConnectionRecord) -> None:
        raise ZeroDivisionError(record.connection_id)

    log = ConnectionLog({}, node="gw1")
    log.follow(fail)
    log.follow(heard.append)
    log.write(RECORD)
    assert heard == [RECORD]
