"""Tells the trio side when the store has changed, for as long as it is asked to.

Level-triggered: changes are not counted, and what happened while nobody waited is told at the next wait. The database
may go away; it is gone back to, and then a change is told, since there may have been one.
"""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, TypeVar

import trio

from gateway.store.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.store.backend import ChangeSignal
    from gateway.store.store import Store

__all__ = ["ChangeWatch", "watch_changes"]

_PAUSE_S = 0.1
"""Before the database is asked again that did not answer; doubles up to `_PAUSE_MOST_S`."""
_PAUSE_MOST_S = 2.0

_Answer = TypeVar("_Answer")


@contextlib.asynccontextmanager
async def watch_changes(store: Store) -> AsyncGenerator[ChangeWatch]:
    """Watch from now on: whatever is committed after this has been entered is told. Never raises `StoreError`.

    Runs in a nursery of its own, so that what is raised inside comes out in an exception group.
    """
    watch = ChangeWatch(store)
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run)
        yield watch
        nursery.cancel_scope.cancel()


class ChangeWatch:
    """Knows whether the store's change counter has moved since the last wait. For one waiter."""

    def __init__(self, store: Store) -> None:
        """`watch_changes` makes one, and runs it."""
        self._store = store
        self._line = _Line(store.backend.change_signal)
        self._known: int | None = None
        self._moved = trio.Event()
        self._pause_s = _PAUSE_S

    async def wait(self, timeout_s: float = math.inf) -> bool:
        """Return at the next change, at once where there has been one; False when the time is over without one."""
        with trio.move_on_after(timeout_s):
            await self._moved.wait()
        moved = self._moved.is_set()
        self._moved = trio.Event()
        return moved

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Watch until cancelled. Has started when the database has been tried once, whether it answered or not."""
        try:
            with contextlib.suppress(StoreUnavailableError):
                await self._open()
                self._known = await _in_thread(self._store.counter)
            task_status.started()
            while True:
                with contextlib.suppress(StoreUnavailableError):
                    await self._follow()
                await self._pause()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._line.close)

    async def _follow(self) -> None:
        """Tell every change, for as long as the database answers."""
        signal = self._line.signal or await self._open()
        while True:
            counter = await _in_thread(self._store.counter)
            if counter != self._known:
                self._known = counter
                self._moved.set()
            self._pause_s = _PAUSE_S
            await signal.wait()

    async def _open(self) -> ChangeSignal:
        return await _in_thread(self._line.open)

    async def _pause(self) -> None:
        """Let go of the connection and the number: when there is an answer again, that is a change."""
        self._known = None
        await trio.to_thread.run_sync(self._line.hang_up)
        await trio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _PAUSE_MOST_S)


class _Line:
    """The connection of the watch; one that is opened too late, when nobody watches any more, is closed at once."""

    def __init__(self, open_signal: Callable[[], ChangeSignal]) -> None:
        self.signal: ChangeSignal | None = None
        self._open_signal = open_signal
        self._closed = False
        self._lock = threading.Lock()

    def open(self) -> ChangeSignal:
        signal = self._open_signal()
        with self._lock:
            if not self._closed:
                self.signal = signal
                return signal
        signal.close()
        raise StoreUnavailableError("nobody watches the store any more")

    def hang_up(self) -> None:
        with self._lock:
            signal, self.signal = self.signal, None
        if signal is not None:
            signal.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.hang_up()


async def _in_thread(ask: Callable[[], _Answer]) -> _Answer:
    """Ask the database; a cancelled question is left to its thread, which ends with the database's time limits."""
    return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
