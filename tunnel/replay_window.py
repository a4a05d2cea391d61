"""Which wrapped control packets were seen before.

Owns the sliding window over the replay field (time, packet id) of one direction of one wrapper. Must not know
packets or keys: it is asked only about packets that proved authentic, so that forgeries cannot move it.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["REPLAY_WINDOW_WIDTH", "ReplayId", "ReplayWindow"]

REPLAY_WINDOW_WIDTH = 128
"""How late a packet may come, in packets. OpenVPN's default is 64; a wider window costs nothing here."""

_MASK = (1 << REPLAY_WINDOW_WIDTH) - 1


class ReplayId(NamedTuple):
    """OpenVPN's long-form packet id; ordered by time, then by id."""

    time: int
    """Unix seconds when the sender began to count; it changes only when the count starts over."""
    packet_id: int
    """Counts from 1."""


class ReplayWindow:
    """Accepts every replay id once, if it is not too old (OpenVPN `packet_id_test`)."""

    __slots__ = ("_highest", "_seen", "_time")

    def __init__(self) -> None:
        self._time = -1
        self._highest = 0
        self._seen = 0  # bit i: the id `_highest - i` was accepted

    def accept(self, replay_id: ReplayId) -> bool:
        """Record the id of an authentic packet; False if it was seen before, is too old, or is 0."""
        time, packet_id = replay_id
        if packet_id == 0 or time < self._time:
            return False
        if time > self._time:
            self._time, self._highest, self._seen = time, packet_id, 1
            return True
        ahead = packet_id - self._highest
        if ahead > 0:
            # A leap past the window forgets all of it; shifting by the leap itself could be a shift by 4 billion.
            self._seen = (self._seen << ahead | 1) & _MASK if ahead < REPLAY_WINDOW_WIDTH else 1
            self._highest = packet_id
            return True
        bit = 1 << -ahead if -ahead < REPLAY_WINDOW_WIDTH else 0
        if not bit or self._seen & bit:
            return False
        self._seen |= bit
        return True
