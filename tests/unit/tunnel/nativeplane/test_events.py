from __future__ import annotations

import ctypes
import functools
import os
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.nativeplane.library import Buffer, Span, load
from tests.unit.tunnel.nativeplane.paths import Path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVENTS_SIZE, EVENTS_RESERVE = 1 << 20, 1 << 17
CONTROL, FLOATED, IDLE, EXITED, WORN, STREAM_ENDED, FAILED = range(7)
LINE = 64
"""Octets of a record without a packet, and what records are rounded up to."""
LARGEST = 65535


class EventStruct(ctypes.Structure):
    """`struct event`."""

    _fields_ = (("kind", ctypes.c_uint), ("peer_id", ctypes.c_uint32), ("path", Path), ("packet", Span))
    kind: int
    peer_id: int
    path: Path
    packet: Span


@dataclass(frozen=True, slots=True)
class Event:
    kind: int
    peer_id: int = 0
    path: bytes = bytes(ctypes.sizeof(Path))
    packet: bytes = b""

    @property
    def record_size(self) -> int:
        return (LINE + len(self.packet) + LINE - 1) // LINE * LINE


@functools.cache
def library() -> ctypes.CDLL:
    library = load("events.c")
    pointer = ctypes.c_void_p
    signatures: dict[str, tuple[Sequence[type], type | None]] = {
        "events_new": ((ctypes.c_int,), pointer),
        "events_free": ((pointer,), None),
        "events_push": ((pointer, ctypes.POINTER(EventStruct)), ctypes.c_bool),
        "events_pop": ((pointer, ctypes.POINTER(EventStruct)), ctypes.c_bool),
        "events_lost": ((pointer,), ctypes.c_uint64),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


class Ring:
    """A `struct events` and the eventfd that it wakes control by."""

    def __init__(self) -> None:
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._handle = library().events_new(self._wake)
        assert self._handle
        self._lent = EventStruct()

    def close(self) -> None:
        library().events_free(self._handle)
        os.close(self._wake)

    def push(self, event: Event) -> bool:
        memory = Buffer(event.packet)
        struct = EventStruct(event.kind, event.peer_id, Path.from_buffer_copy(event.path), memory.span)
        return bool(library().events_push(self._handle, ctypes.byref(struct)))

    def pop(self) -> Event | None:
        if not library().events_pop(self._handle, ctypes.byref(self._lent)):
            return None
        return Event(self._lent.kind, self._lent.peer_id, bytes(self._lent.path), self._lent.packet.octets())

    def packet_popped_last(self) -> bytes:
        """Read again where `events_pop` has said that it is."""
        return self._lent.packet.octets()

    @property
    def lost(self) -> int:
        return int(library().events_lost(self._handle))

    def was_woken(self) -> bool:
        """Whether the eventfd was written since this was asked before."""
        try:
            return os.eventfd_read(self._wake) > 0
        except BlockingIOError:
            return False


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring()
    yield ring
    ring.close()


sizes = st.one_of(st.integers(0, 200), st.sampled_from([LINE, EVENTS_SIZE // 32, LARGEST]), st.integers(0, LARGEST))
paths = st.builds(
    lambda host, port, stream: bytes(Path.to(host, port, stream=stream)),
    st.sampled_from(["192.0.2.1", "2001:db8::1"]),
    st.integers(0, 65535),
    st.integers(0, 2**64 - 1),
)
control = st.builds(
    lambda path, size, seed: Event(CONTROL, 0, path, random.Random(seed).randbytes(size)), paths, sizes, st.integers()
)
small = st.builds(Event, st.integers(FLOATED, FAILED), st.integers(0, 2**32 - 1), paths)
steps = st.lists(st.one_of(st.just(None), st.just(None), control, control, small), min_size=1, max_size=80)
"""Events to push, and None where one is popped."""


def check_refused(event: Event, queued: deque[Event], lent: Event | None) -> None:
    """A ring refuses only what has no room behind what waits, what is lent, and a gap at its edge."""
    used = sum(each.record_size for each in queued) + (lent.record_size if lent else 0)
    gaps = 2 * (LARGEST + 2 * LINE)
    limit = EVENTS_SIZE - (EVENTS_RESERVE if event.kind == CONTROL else 0)
    assert used + event.record_size + gaps > limit


@given(start=st.integers(0, 40), steps=steps)
def test_a_ring_is_a_queue_of_what_it_took(start: int, steps: list[Event | None]) -> None:
    ring, queued, lost = Ring(), deque[Event](), 0
    lent: Event | None = None
    try:
        for _ in range(start):
            assert ring.push(Event(CONTROL, packet=bytes(EVENTS_SIZE // 33)))
            assert ring.pop()
        assert ring.pop() is None
        for step in steps * 4:
            if step is None:
                lent = queued.popleft() if queued else None
                assert ring.pop() == lent
            elif ring.push(step):
                queued.append(step)
            else:
                check_refused(step, queued, lent)
                lost += step.kind == CONTROL
            assert lent is None or ring.packet_popped_last() == lent.packet
        assert [ring.pop() for _ in range(len(queued))] == list(queued)
        assert ring.pop() is None
        assert ring.lost == lost
    finally:
        ring.close()


@pytest.mark.parametrize("start", [0, 3, 10, 16])
@pytest.mark.parametrize("size", [0, 1, 64, 100, 1500, 40_000, (EVENTS_SIZE - EVENTS_RESERVE) // 14 - LINE, LARGEST])
def test_a_flood_of_control_packets_leaves_room_for_everything_else(ring: Ring, size: int, start: int) -> None:
    for _ in range(start):
        assert ring.push(Event(CONTROL, packet=bytes(50_000)))
        assert ring.pop()
    assert ring.pop() is None
    flood = Event(CONTROL, packet=bytes(size))
    taken = 0
    while ring.push(flood):
        taken += 1
    assert EVENTS_SIZE - EVENTS_RESERVE - taken * flood.record_size < 2 * flood.record_size
    others = 0
    while ring.push(Event(FLOATED, peer_id=others)):
        others += 1
    assert others >= EVENTS_RESERVE // LINE
    assert ring.lost == 1
    assert [ring.pop() for _ in range(taken)] == [flood] * taken
    assert [ring.pop() for _ in range(others)] == [Event(FLOATED, peer_id=number) for number in range(others)]
    assert ring.pop() is None


def test_a_full_ring_takes_again_what_was_taken_out(ring: Ring) -> None:
    while ring.push(Event(IDLE)):
        pass
    assert ring.pop()
    assert not ring.push(Event(EXITED)), "what was popped last is lent until the next pop"
    assert ring.pop()
    assert ring.push(Event(EXITED))
    assert not ring.push(Event(EXITED))
    assert ring.lost == 0


def test_a_packet_that_could_never_fit_is_lost_and_harms_nothing(ring: Ring) -> None:
    for size in (EVENTS_SIZE - EVENTS_RESERVE, EVENTS_SIZE, 2 * EVENTS_SIZE):
        assert not ring.push(Event(CONTROL, packet=bytes(size)))
    assert ring.lost == 3
    assert ring.push(Event(CONTROL, packet=b"fits"))
    assert ring.pop() == Event(CONTROL, packet=b"fits")


def test_other_events_carry_no_packet(ring: Ring) -> None:
    assert ring.push(Event(FLOATED, 7, packet=b"ignored"))
    assert ring.pop() == Event(FLOATED, 7)


def test_control_is_woken_by_the_first_event_after_it_found_none(ring: Ring) -> None:
    assert not ring.was_woken()
    ring.push(Event(IDLE))
    assert ring.was_woken()
    ring.push(Event(IDLE))
    assert not ring.was_woken()
    ring.pop()
    ring.push(Event(IDLE))
    assert not ring.was_woken(), "control has not come to the end yet"
    while ring.pop():
        pass
    assert not ring.was_woken()
    ring.push(Event(IDLE))
    assert ring.was_woken()


def test_what_is_refused_wakes_nobody(ring: Ring) -> None:
    assert not ring.push(Event(CONTROL, packet=bytes(EVENTS_SIZE)))
    assert not ring.was_woken()


def test_an_eventfd_that_takes_no_more_does_not_stop_a_worker(ring: Ring) -> None:
    os.eventfd_write(ring._wake, 2**64 - 2)
    assert ring.push(Event(IDLE))
    assert ring.was_woken()
    assert ring.pop() == Event(IDLE)
