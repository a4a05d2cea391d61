from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.tunnel.nativeplane.library import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DESTROY = ctypes.CFUNCTYPE(None, ctypes.c_size_t)
MOST_WORKERS = 4
workers = st.integers(0, MOST_WORKERS - 1)


@functools.cache
def library() -> ctypes.CDLL:
    library = load("reclaim.c")
    signatures: dict[str, tuple[Sequence[type], type | None]] = {
        "reclaim_new": ((ctypes.c_uint,), ctypes.c_void_p),
        "reclaim_free": ((ctypes.c_void_p,), None),
        "reclaim_later": ((ctypes.c_void_p, ctypes.c_size_t, DESTROY), None),
        "reclaim_now": ((ctypes.c_void_p,), ctypes.c_uint),
        **{f"reclaim_{state}": ((ctypes.c_void_p, ctypes.c_uint), None) for state in ("online", "quiet", "offline")},
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


class Reclaim:
    """A `struct reclaim` whose objects are numbers; `freed` has those that were destroyed, in that order."""

    def __init__(self, workers: int = MOST_WORKERS) -> None:
        self.freed: list[int] = []
        self._destroy = DESTROY(self.freed.append)
        self._handle: int | None = library().reclaim_new(workers)
        assert self._handle

    def online(self, worker: int) -> None:
        library().reclaim_online(self._handle, worker)

    def quiet(self, worker: int) -> None:
        library().reclaim_quiet(self._handle, worker)

    def offline(self, worker: int) -> None:
        library().reclaim_offline(self._handle, worker)

    def later(self, number: int) -> None:
        library().reclaim_later(self._handle, number, self._destroy)

    def now(self) -> int:
        return int(library().reclaim_now(self._handle))

    def close(self) -> None:
        if self._handle:
            library().reclaim_free(self._handle)
        self._handle = None


@pytest.fixture
def reclaim() -> Iterator[Reclaim]:
    reclaim = Reclaim()
    yield reclaim
    reclaim.close()


@dataclass
class Waiting:
    number: int
    holders: set[int]
    """Workers that were looking when it was handed over, and have not said anything since."""


class AnyOrderOfThings(RuleBasedStateMachine):
    """Control and workers in any order; an object goes at the first look after its last holder has spoken."""

    @initialize()
    def begin(self) -> None:
        self.reclaim = Reclaim()
        self.online = set[int]()
        self.waiting: list[Waiting] = []
        self.number = 0
        self.gone: list[int] = []

    @rule(worker=workers)
    def a_worker_begins_to_look(self, worker: int) -> None:
        if worker not in self.online:
            self.reclaim.online(worker)
            self.online.add(worker)

    @rule(worker=workers)
    def a_worker_holds_nothing(self, worker: int) -> None:
        if worker in self.online:
            self.reclaim.quiet(worker)
            self._spoke(worker)

    @rule(worker=workers)
    def a_worker_waits(self, worker: int) -> None:
        self.reclaim.offline(worker)
        self.online.discard(worker)
        self._spoke(worker)

    @rule()
    def control_hands_over(self) -> None:
        self.number += 1
        self.waiting.append(Waiting(self.number, set(self.online)))
        self.reclaim.later(self.number)
        self._look()

    @rule()
    def control_looks(self) -> None:
        left = self.reclaim.now()
        self._look()
        assert left == len(self.waiting)

    def _spoke(self, worker: int) -> None:
        for waiting in self.waiting:
            waiting.holders.discard(worker)

    def _look(self) -> None:
        self.gone += [waiting.number for waiting in self.waiting if not waiting.holders]
        self.waiting = [waiting for waiting in self.waiting if waiting.holders]

    @invariant()
    def nothing_goes_early_late_or_twice(self) -> None:
        assert self.reclaim.freed == self.gone

    def teardown(self) -> None:
        self.reclaim.close()
        assert self.reclaim.freed == [*self.gone, *(waiting.number for waiting in self.waiting)]


TestAnyOrderOfThings = AnyOrderOfThings.TestCase


def test_without_workers_online_everything_goes_at_once(reclaim: Reclaim) -> None:
    reclaim.later(1)
    reclaim.later(2)
    assert reclaim.freed == [1, 2]
    assert reclaim.now() == 0


def test_a_worker_that_has_gone_to_wait_holds_nothing_back_however_often_it_looked(reclaim: Reclaim) -> None:
    for number in range(1, 1000):
        reclaim.online(0)
        reclaim.online(3)
        reclaim.later(number)
        reclaim.offline(0)
        assert reclaim.now() == 1
        reclaim.offline(3)
        assert reclaim.now() == 0
    assert reclaim.freed == list(range(1, 1000))


def test_one_that_never_says_anything_holds_everything_back(reclaim: Reclaim) -> None:
    reclaim.online(1)
    for number in range(1, 501):
        reclaim.later(number)
        reclaim.online(2)
        reclaim.quiet(2)
    assert reclaim.now() == 500
    assert reclaim.freed == []
    reclaim.offline(1)
    assert reclaim.now() == 0
    assert reclaim.freed == list(range(1, 501))


def test_who_begins_to_look_later_cannot_hold_what_was_unlinked_before(reclaim: Reclaim) -> None:
    reclaim.online(0)
    reclaim.later(1)
    reclaim.online(1)
    reclaim.offline(0)
    assert reclaim.now() == 0
    assert reclaim.freed == [1]
