import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway.timers import TimerHeap


def test_due_keys_come_in_order_and_once() -> None:
    timers: TimerHeap[str] = TimerHeap()
    timers.set("late", 30)
    timers.set("early", 10)
    assert timers.take_due(9) == []
    assert timers.take_due(30) == ["early", "late"]
    assert timers.take_due(100) == []


def test_a_later_setting_replaces_an_earlier_one() -> None:
    timers: TimerHeap[str] = TimerHeap()
    timers.set("key", 10)
    timers.set("key", 20)
    assert timers.take_due(15) == []
    timers.set("key", 16)
    assert timers.take_due(16) == ["key"]
    timers.set("key", 50)
    timers.set("key", None)
    assert timers.take_due(100) == []
    assert len(timers) == 0


def test_setting_a_key_again_and_again_does_not_fill_memory() -> None:
    timers: TimerHeap[str] = TimerHeap()
    for moment in range(10_000, 0, -1):
        timers.set("key", moment)
    assert len(timers._heap) < 100
    assert timers.take_due(10_000) == ["key"]


moments_set = st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 100)))


@given(st.lists(st.one_of(moments_set, st.integers(0, 100)), max_size=200))
def test_it_agrees_with_a_dictionary(steps: list[tuple[int, int | None] | int]) -> None:
    """A step sets a key's moment, or takes what is due at a time."""
    timers: TimerHeap[int] = TimerHeap()
    moments: dict[int, int] = {}
    for step in steps:
        if isinstance(step, tuple):
            key, moment = step
            timers.set(key, moment)
            moments.pop(key, None)
            if moment is not None:
                moments[key] = moment
        else:
            due = timers.take_due(step)
            assert sorted(due) == sorted(key for key, moment in moments.items() if moment <= step)
            assert [moments[key] for key in due] == sorted(moments[key] for key in due)
            for key in due:
                del moments[key]
        assert len(timers) == len(moments)


def test_a_moment_that_is_put_off_again_and_again_needs_one_entry() -> None:
    timers: TimerHeap[str] = TimerHeap()
    for moment in range(1000):
        timers.set("key", moment)
    assert len(timers._heap) == 1
    assert timers.take_due(998) == []
    assert timers.take_due(999) == ["key"]


async def test_the_task_wakes_for_a_key_that_was_set_while_it_slept(autojump_clock: trio.testing.MockClock) -> None:
    timers: TimerHeap[str] = TimerHeap()
    called: list[tuple[str, float]] = []
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, lambda key: called.append((key, trio.current_time() - start)))
        timers.set("slow", start + 7200)
        await trio.sleep(1)
        timers.set("quick", start + 5)
        await trio.sleep(8000)
        nursery.cancel_scope.cancel()
    assert called == [("quick", 5), ("slow", 7200)]


async def test_others_run_while_many_keys_are_due(autojump_clock: trio.testing.MockClock) -> None:
    timers: TimerHeap[int] = TimerHeap()
    begun = trio.Event()
    order: list[str] = []

    def handle(key: int) -> None:
        begun.set()
        order.append(f"key {key}")

    async def other() -> None:
        await begun.wait()
        order.append("other")

    for key in range(100):
        timers.set(key, trio.current_time() + 5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, handle)
        nursery.start_soon(other)
        await trio.sleep(6)
        nursery.cancel_scope.cancel()
    assert len(order) == 101
    assert order[-1] != "other"


async def test_a_moment_set_by_a_handler_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    timers: TimerHeap[str] = TimerHeap()
    called: list[float] = []
    start = trio.current_time()

    def handle(key: str) -> None:
        called.append(trio.current_time() - start)
        timers.set(key, trio.current_time() + 10)

    timers.set("again", start + 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, handle)
        await trio.sleep(35)
        nursery.cancel_scope.cancel()
    assert called == [10, 20, 30]
