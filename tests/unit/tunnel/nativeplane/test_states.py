"""Replay windows on their way from one plane to another: nothing that was accepted is ever accepted again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.data_channel import REPLAY_WINDOW, ReplayWindow
from tunnel.data_keys import Cipher, DataKey, KeyHalf
from tunnel.plane import KeyState

pytestmark = pytest.mark.native

HALF = KeyHalf(bytes(64), bytes(64))
KEY = DataKey(0, Cipher.AES_256_GCM, HALF, HALF)
LAST = 0xFFFF_FFFF
STARTS = st.sampled_from([1, 5, REPLAY_WINDOW - 3, 8190, 40_000, LAST - 9000])
STEPS = st.lists(st.integers(-200, 400) | st.integers(-9000, 9000), max_size=60)


def ids(start: int, steps: list[int]) -> list[int]:
    """A walk over packet ids, mostly forwards."""
    walk, at = [], start
    for step in steps:
        at = min(max(at + step, 1), LAST)
        walk.append(at)
    return walk


@given(STARTS, STEPS)
def test_a_window_that_moves_to_the_core_and_back_refuses_what_it_accepted(start: int, steps: list[int]) -> None:
    from tunnel.nativeplane.peers import key_state, progress

    before = ReplayWindow()
    walk = ids(start, steps)
    accepted = {packet_id for packet_id in walk if before.accept(packet_id)}
    state = KeyState(KEY, 1, 2, 3, 4, greatest_opened=before.greatest, opened=before.export())
    returned = key_state(KEY, progress(state))
    assert (returned.sealed_packets, returned.sealed_octets, returned.opened_octets, returned.failures) == (1, 2, 3, 4)
    assert returned.greatest_opened == before.greatest
    after = ReplayWindow()
    after.resume(returned.greatest_opened, returned.opened)
    assert not any(after.accept(packet_id) for packet_id in accepted)
    for packet_id in {*walk, *(min(at + 1, LAST) for at in walk)} - accepted:
        assert after.accept(packet_id) == before.accept(packet_id)


@given(STARTS, STEPS)
def test_the_core_keeps_a_packet_id_at_its_remainder(start: int, steps: list[int]) -> None:
    from tunnel.nativeplane import _core
    from tunnel.nativeplane.peers import progress

    window = ReplayWindow()
    accepted = {packet_id for packet_id in ids(start, steps) if window.accept(packet_id)}
    state = KeyState(KEY, greatest_opened=window.greatest, opened=window.export())
    native = int.from_bytes(progress(state)[-1], "little")
    for packet_id in range(max(1, window.greatest - _core.REPLAY_WINDOW + 1), window.greatest + 1):
        is_known = packet_id > window.greatest - REPLAY_WINDOW
        expected = packet_id in accepted if is_known else True
        assert bool(native >> packet_id % _core.REPLAY_WINDOW & 1) == expected


@given(st.binary(max_size=2000), STARTS)
def test_what_a_state_leaves_open_counts_as_accepted(opened: bytes, greatest: int) -> None:
    from tunnel.nativeplane.peers import key_state, progress

    returned = key_state(KEY, progress(KeyState(KEY, greatest_opened=greatest, opened=opened))).opened
    assert returned == opened[: len(returned)].ljust(len(returned), b"\xff")
