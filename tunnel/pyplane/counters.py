"""Why packets went no further: one counter per cause for the plane, and one per cause for each peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunnel.plane import Drop

if TYPE_CHECKING:
    from tunnel.pyplane.peers import PeerRecord

__all__ = ["DropCounters"]


class DropCounters:
    """Counts every dropped packet once for the plane, and once for the peer where that is known."""

    __slots__ = ("totals",)

    def __init__(self) -> None:
        self.totals: dict[Drop, int] = dict.fromkeys(Drop, 0)

    def drop(self, cause: Drop, peer: PeerRecord | None = None, count: int = 1) -> None:
        """Count `count` packets."""
        self.totals[cause] += count
        if peer is not None:
            peer.drops[cause] = peer.drops.get(cause, 0) + count
