"""What is counted about the sessions of an endpoint while it runs, for metrics.

A few additions for each session, none for a packet. Counts begin at zero whenever an endpoint is put up, as whoever
reads them expects of a process that was restarted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.connection_log import Counters

if TYPE_CHECKING:
    from gateway.connection_log import ReasonCode
    from gateway.sessions import Session

__all__ = ["HANDSHAKE_BOUNDS_S", "Histogram", "SessionMeasures"]

HANDSHAKE_BOUNDS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a client next door with a gateway at rest, to one that will not be waited for any longer."""


class Histogram:
    """How often values were at most as large as each bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds` ascend; one bucket beyond them takes the rest."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bucket; not cumulative."""
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(slots=True)
class SessionMeasures:
    """What became of sessions."""

    authentication_s: Histogram = field(default_factory=lambda: Histogram(HANDSHAKE_BOUNDS_S))
    """From the first packet that cost memory until the client had proved who it is: TLS and the exchange of keys."""
    confirmation_s: Histogram = field(default_factory=lambda: Histogram(HANDSHAKE_BOUNDS_S))
    """From there until the client had its settings and had confirmed its key."""
    established: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Admitted attempts that came to nothing, by reason code."""
    ended: Counter[str] = field(default_factory=Counter)
    """Established sessions that are over, by reason code."""
    moved: Counters = field(default=Counters())
    """What sessions moved that are over."""

    def note_established(self, session: Session, now: float) -> None:
        """A client is connected; `now` is on trio's clock."""
        self.established += 1
        if session.authorized_moment is not None:
            self.confirmation_s.add(now - session.authorized_moment)

    def note_end(self, session: Session, reason: ReasonCode) -> None:
        """A session is over, or an attempt."""
        book = self.failed if session.established_at is None else self.ended
        book[reason.value] += 1

    def note_moved(self, counters: Counters) -> None:
        """A session has left the plane."""
        self.moved = self.moved + counters
