"""Control gives way to the workers: a packet that arrives while a client shakes hands does not wait for that.

A handshake takes control half a millisecond at a time. Where a core has both to run, the scheduler lets a thread of the
same nice value go on for a while, and one of a higher value wait. On Linux each thread has a nice value of its own
(setpriority(2)), and a thread that is started inherits that of who starts it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["GIVES_WAY", "behind_workers"]

GIVES_WAY: Final = 5
"""Nice levels: where workers leave nothing over, control still gets a quarter of a core."""
_MOST: Final = 19


@dataclass(slots=True)
class _Control:
    """A thread that is the control of some planes."""

    own: int
    """Its nice value before there were any, and that of the workers."""
    behind: int
    planes: int = 0

    def take(self, nice: int) -> None:
        if self.own != self.behind:
            os.setpriority(os.PRIO_PROCESS, 0, nice)


_controls: dict[int, _Control] = {}


@contextlib.contextmanager
def behind_workers(start: Callable[[], None]) -> Iterator[None]:
    """Start a plane's workers at this thread's own priority, and have this thread give way to them until the end.

    Control and workers stay equals where the system would not let a later plane's workers have that priority again: it
    takes CAP_SYS_NICE, or an RLIMIT_NICE that covers it.
    """
    thread = threading.get_native_id()
    control = _controls.get(thread) or _get_to_know(thread)
    control.planes += 1
    try:
        control.take(control.own)
        try:
            start()
        finally:
            control.take(control.behind)
        yield
    finally:
        control.planes -= 1
        if not control.planes:
            del _controls[thread]
            control.take(control.own)


def _get_to_know(thread: int) -> _Control:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    behind = own + GIVES_WAY
    control = _controls[thread] = _Control(own, behind if behind <= _MOST and _may_return(own, behind) else own)
    return control


def _may_return(own: int, behind: int) -> bool:
    """Whether a thread that has given way may take its priority back: tried by one that is there for that only."""
    returned = threading.Event()

    def try_it() -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, behind)
            os.setpriority(os.PRIO_PROCESS, 0, own)
            returned.set()

    thread = threading.Thread(target=try_it, name="priority")
    thread.start()
    thread.join()
    while Path(f"/proc/self/task/{thread.native_id}").exists():
        time.sleep(0)  # it has ended for Python, and a moment later for the kernel
    return returned.is_set()
