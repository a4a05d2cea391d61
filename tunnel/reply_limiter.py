"""A bound on answers to senders who have proved nothing yet.

Owns one count per time window. Must not know who is answered: a spoofed flood then costs no memory, and sends at
most so many packets to its victims.
"""

from __future__ import annotations

__all__ = ["ReplyLimiter"]


class ReplyLimiter:
    """At most so many answers per window (OpenVPN `connect-freq-initial`, `reflect_filter.c`)."""

    __slots__ = ("_count", "_max_replies", "_window_end", "_window_s")

    def __init__(self, max_replies: int, window_s: float) -> None:
        self._max_replies = max_replies
        self._window_s = window_s
        self._window_end = float("-inf")
        self._count = 0

    def take_over(self, predecessor: ReplyLimiter) -> None:
        """Go on with the predecessor's window and its count, to this one's limit."""
        self._window_end = predecessor._window_end
        self._count = predecessor._count

    def has_room(self, now: float) -> bool:
        """Tell whether one more answer is allowed; asked before the cost of verifying a packet is paid."""
        if now >= self._window_end:
            self._window_end = now + self._window_s
            self._count = 0
        return self._count < self._max_replies

    def take(self) -> None:
        """Count one answer, for which there was room."""
        self._count += 1

    def give_back(self) -> None:
        """Uncount one answer: it went to a client that really is there."""
        self._count = max(0, self._count - 1)
