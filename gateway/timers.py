"""Many moments, one alarm: the timers of all connections of an endpoint in one heap, served by one task.

A key has at most one moment. Setting it anew leaves the old entry in the heap, to be thrown away when it comes up;
when such entries outnumber the others the heap is built again, so that it stays in proportion to the keys.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["TimerHeap"]

KeyT = TypeVar("KeyT", bound="Hashable")

SLACK_ENTRIES = 64
"""Dead entries that are not worth a rebuild."""


class TimerHeap(Generic[KeyT]):
    """When each key wants to be called, on trio's clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, KeyT]] = []
        self._moments: dict[KeyT, float] = {}
        self._order = count()
        self._sooner = trio.Event()

    def __len__(self) -> int:
        return len(self._moments)

    def set(self, key: KeyT, moment: float | None) -> None:
        """Call for this key at `moment`, and at no other time; None is never."""
        if moment is None:
            self._moments.pop(key, None)
            return
        if self._moments.get(key) == moment:
            return
        self._moments[key] = moment
        heapq.heappush(self._heap, (moment, next(self._order), key))
        if self._heap[0][2] == key:
            self._sooner.set()
        if len(self._heap) > 2 * len(self._moments) + SLACK_ENTRIES:
            self._heap = [(at, next(self._order), live) for live, at in self._moments.items()]
            heapq.heapify(self._heap)

    def take_due(self, now: float) -> list[KeyT]:
        """All keys whose moment has come, in order; they have none from now on."""
        due: list[KeyT] = []
        while (first := self._first()) is not None and first <= now:
            key = heapq.heappop(self._heap)[2]
            del self._moments[key]
            due.append(key)
        return due

    async def run(self, handle: Callable[[KeyT], None]) -> None:
        """Call `handle` for each key at its moment, until cancelled."""
        while True:
            for key in self.take_due(trio.current_time()):
                handle(key)
            self._sooner = trio.Event()
            first = self._first()
            with trio.move_on_at(trio.current_time() + 3600 if first is None else first):
                await self._sooner.wait()

    def _first(self) -> float | None:
        """The earliest moment that still counts."""
        while self._heap:
            moment, _, key = self._heap[0]
            if self._moments.get(key) == moment:
                return moment
            heapq.heappop(self._heap)
        return None
