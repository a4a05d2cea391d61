"""Which thread gives way to which."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.nativeplane.test_plane import open_native
from tests.unit.tunnel.plane_suite.rig import Rig, socket_device
from tunnel.nativeplane import priority
from tunnel.nativeplane.priority import GIVES_WAY, behind_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trio

pytestmark = pytest.mark.native


@pytest.fixture
def own() -> Iterator[int]:
    """This thread's nice value."""
    before = nice()
    yield before
    assert nice() == before
    assert not priority._controls


def nice(thread: int = 0) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


def threads() -> set[int]:
    return {int(entry.name) for entry in Path("/proc/self/task").iterdir()}


async def test_control_gives_way_to_workers_and_comes_back(nursery: trio.Nursery, own: int) -> None:
    before = threads()
    near, far = socket_device()
    rig = Rig(open_native(near, workers=2), 0, far)
    await nursery.start(rig.run)
    assert {nice(worker) for worker in threads() - before} == {own}
    assert nice() == own + GIVES_WAY
    await rig.stop()
    rig.close()


def test_workers_of_a_later_plane_are_no_slower(own: int) -> None:
    seen = []
    with behind_workers(lambda: None):
        with behind_workers(lambda: seen.append(nice())):
            assert nice() == own + GIVES_WAY
        assert nice() == own + GIVES_WAY
    assert seen == [own]


def test_a_start_that_fails_changes_nothing(own: int) -> None:
    def fail() -> None:
        raise OSError("no memory")

    with pytest.raises(OSError, match="no memory"), behind_workers(fail):
        pytest.fail("it did not start")
    assert nice() == own


def test_all_stay_equals_where_a_priority_is_given_up_for_good(own: int, monkeypatch: pytest.MonkeyPatch) -> None:
    main = threading.get_native_id()
    real = os.setpriority

    def refuse_to_rise(which: int, who: int, value: int) -> None:
        assert threading.get_native_id() != main
        if value < nice():
            raise PermissionError
        real(which, who, value)

    monkeypatch.setattr(os, "setpriority", refuse_to_rise)
    with behind_workers(lambda: None):
        assert nice() == own


def test_who_is_nearly_the_last_has_nobody_to_give_way_to() -> None:
    values = []

    def be_nice() -> None:
        os.setpriority(os.PRIO_PROCESS, 0, 17)
        with behind_workers(lambda: None):
            values.append(nice())

    thread = threading.Thread(target=be_nice)
    thread.start()
    thread.join()
    assert values == [17]
