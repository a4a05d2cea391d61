from __future__ import annotations

import ctypes
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.nativeplane.keys import LAST_PACKET_ID, REPLAY_WINDOW, KeyProgress
from tests.unit.tunnel.nativeplane.library import load
from tunnel import data_channel

ROOM = 256
"""Words of 8 octets, more than a `struct replay_window` has."""


class Window:
    """A `struct replay_window`."""

    def __init__(self, progress: KeyProgress | None = None) -> None:
        self._library = load("replay.c")
        self._library.replay_accept.restype = ctypes.c_bool
        self._library.replay_accept.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        self._memory = (ctypes.c_uint64 * ROOM)()
        self._library.replay_init(self._memory, ctypes.byref(progress or KeyProgress()))

    def accept(self, packet_id: int) -> bool:
        return bool(self._library.replay_accept(self._memory, packet_id))

    @property
    def progress(self) -> KeyProgress:
        progress = KeyProgress()
        self._library.replay_progress(self._memory, ctypes.byref(progress))
        return progress


class Model:
    """What a window must do, from a set of everything that it accepted."""

    def __init__(self) -> None:
        self._seen = set[int]()
        self.greatest = 0

    def accept(self, packet_id: int) -> bool:
        fresh = packet_id not in self._seen and packet_id > max(0, self.greatest - REPLAY_WINDOW)
        if fresh:
            self._seen.add(packet_id)
            self.greatest = max(self.greatest, packet_id)
        return fresh


def wandering_ids(rng: random.Random, start: int, spread: int) -> list[int]:
    """Ids that go forward in small and large steps, and come early, late and again."""
    bases = itertools.accumulate(rng.choices([0, 1, 50, spread], k=400), initial=start)
    return [min(max(0, base + rng.randint(-spread, spread)), LAST_PACKET_ID) for base in bases]


seeds = st.integers(0, 2**32)
starts = st.sampled_from([0, 63, REPLAY_WINDOW - 2, 1 << 31, LAST_PACKET_ID - 3 * REPLAY_WINDOW])
spreads = st.sampled_from([1, 3, 63, 64, 65, REPLAY_WINDOW - 1, REPLAY_WINDOW, REPLAY_WINDOW + 1]) | st.integers(
    1, 3 * REPLAY_WINDOW
)


@given(seed=seeds, start=starts, spread=spreads)
def test_it_agrees_with_a_set_of_everything_seen(seed: int, start: int, spread: int) -> None:
    window, model = Window(), Model()
    for packet_id in wandering_ids(random.Random(seed), start, spread):
        assert window.accept(packet_id) == model.accept(packet_id)
    assert window.progress.greatest_opened == model.greatest


@given(seed=seeds, start=starts, spread=spreads)
def test_it_agrees_with_the_python_window_of_the_same_size(seed: int, start: int, spread: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_channel, "REPLAY_WINDOW", REPLAY_WINDOW)
        window, twin = Window(), data_channel.ReplayWindow()
        for packet_id in wandering_ids(random.Random(seed), start, spread):
            assert window.accept(packet_id) == twin.accept(packet_id)


@given(seed=seeds, start=starts, spread=spreads, cut=st.integers(0, 400))
def test_one_that_continues_another_refuses_what_that_saw(seed: int, start: int, spread: int, cut: int) -> None:
    window, model = Window(), Model()
    ids = wandering_ids(random.Random(seed), start, spread)
    for packet_id in ids[:cut]:
        assert window.accept(packet_id) == model.accept(packet_id)
    continued = Window(window.progress)
    for packet_id in ids:
        assert continued.accept(packet_id) == model.accept(packet_id)


def test_bits_of_ids_outside_the_window_mean_nothing() -> None:
    progress = KeyProgress(greatest_opened=3)
    ctypes.memset(progress.window, 0xFF, ctypes.sizeof(progress.window))
    window = Window(progress)
    assert not window.accept(3)
    assert window.accept(5)
    assert window.accept(4)
    assert window.accept(REPLAY_WINDOW + 5)
    assert not window.accept(5)
    assert window.accept(6)


def test_id_zero_is_refused_even_as_the_first() -> None:
    window = Window()
    assert not window.accept(0)
    assert window.accept(1)
    assert not window.accept(0)


def test_what_is_late_is_taken_but_not_what_is_too_late() -> None:
    window = Window()
    assert window.accept(REPLAY_WINDOW + 10)
    assert not window.accept(10)
    assert window.accept(11)
    assert not window.accept(11)


def test_a_whole_window_may_come_backwards() -> None:
    window = Window()
    assert all(window.accept(packet_id) for packet_id in range(3 * REPLAY_WINDOW, 2 * REPLAY_WINDOW, -1))
    assert not any(window.accept(packet_id) for packet_id in range(3 * REPLAY_WINDOW, 0, -1))


def test_it_reaches_to_the_last_id() -> None:
    window = Window()
    assert window.accept(LAST_PACKET_ID)
    assert not window.accept(LAST_PACKET_ID)
    assert window.accept(LAST_PACKET_ID - REPLAY_WINDOW + 1)
    assert not window.accept(LAST_PACKET_ID - REPLAY_WINDOW)
