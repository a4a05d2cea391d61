"""Many moments, one alarm: the timers of all connections of an endpoint in one heap, served by one task.

A key has at most one moment, and one entry in the heap that counts. Most moments are put off again and again: then
the entry stays where it is, and moves when it comes up. A moment that becomes earlier leaves its old entry behind, to
be thrown away when that comes up; when such entries outnumber the others the heap is built again.
"""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

__all__ = ["TimerHeap"]

KeyT = TypeVar("KeyT", bound="Hashable")

SLACK_ENTRIES = 64
"""Dead entries that are not worth a rebuild."""
AT_ONCE = 16
"""Keys that are served before others may run: what a storm of connects set in one second falls due in one, too."""
LONGEST_SLEEP_S = 3600


class TimerHeap(Generic[KeyT]):
    """When each key wants to be called, on trio's clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, KeyT]] = []
        self._moments: dict[KeyT, float] = {}
        self._entries: dict[KeyT, float] = {}
        """Where in the heap the entry of each key is that counts; never later than the key's moment."""
        self._order = count()
        self._alarm = -math.inf
        """Until when the task sleeps, or has slept."""
        self._sooner = trio.Event()

    def __len__(self) -> int:
        return len(self._moments)

    def set(self, key: KeyT, moment: float | None) -> None:
        """Call for this key at `moment`, and at no other time; None is never."""
        if moment is None:
            self._moments.pop(key, None)
            return
        self._moments[key] = moment
        if self._entries.get(key, math.inf) <= moment:
            return
        self._enter(key, moment)
        if moment < self._alarm:
            self._sooner.set()
        if len(self._heap) > 2 * len(self._moments) + SLACK_ENTRIES:
            self._entries = self._moments.copy()
            self._heap = [(at, next(self._order), live) for live, at in self._entries.items()]
            heapq.heapify(self._heap)

    def take_due(self, now: float) -> list[KeyT]:
        """All keys whose moment has come, in order; they have none from now on."""
        return list(self._due(now))

    async def run(self, handle: Callable[[KeyT], None]) -> None:
        """Call `handle` for each key at its moment, until cancelled."""
        while True:
            for number, key in enumerate(self._due(trio.current_time()), start=1):
                handle(key)
                if number % AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
            await self._sleep()

    async def _sleep(self) -> None:
        """Sleep until the earliest moment there is, or until an earlier one is set."""
        first = self._first()
        self._alarm = trio.current_time() + LONGEST_SLEEP_S if first is None else first
        self._sooner = trio.Event()
        with trio.move_on_at(self._alarm):
            await self._sooner.wait()

    def _due(self, now: float) -> Iterator[KeyT]:
        """Take the keys whose moment has come, one by one: what happens to one may concern the next."""
        while (first := self._first()) is not None and first <= now:
            key = heapq.heappop(self._heap)[2]
            del self._moments[key], self._entries[key]
            yield key

    def _first(self) -> float | None:
        """The earliest moment that still counts."""
        while self._heap:
            at, _, key = self._heap[0]
            moment = self._moments.get(key)
            counts = self._entries.get(key) == at
            if counts and moment == at:
                return at
            heapq.heappop(self._heap)
            if counts:
                del self._entries[key]
                if moment is not None:
                    self._enter(key, moment)
        return None

    def _enter(self, key: KeyT, moment: float) -> None:
        self._entries[key] = moment
        heapq.heappush(self._heap, (moment, next(self._order), key))
