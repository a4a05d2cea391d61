"""Keepalive, idle time-outs and worn keys: one timer over all peers instead of one task for each.

Works in ticks of a second. Pings and reports are therefore up to a second late, never early: intervals are tens of
seconds. The packets' path only raises a flag per peer; here the flags become times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from tunnel.data_channel import WearLimits
    from tunnel.plane import PlaneEvents
    from tunnel.pyplane.egress import Egress
    from tunnel.pyplane.peers import PeerRecord, PeerTable

__all__ = ["TICK_S", "run_timers", "tick"]

TICK_S: Final = 1.0
_PEERS_AT_ONCE: Final = 256
"""Then packets get their turn."""


async def run_timers(peers: PeerTable, egress: Egress, events: PlaneEvents, wear: WearLimits) -> None:
    """Look after all peers once per tick, until cancelled."""
    while True:
        await trio.sleep(TICK_S)
        for count, peer in enumerate(peers, start=1):
            # The peer may have gone while packets had their turn.
            if peers.by_id.get(peer.peer_id) is peer:
                tick(peer, egress, events, wear, trio.current_time())
            if count % _PEERS_AT_ONCE == 0:
                egress.flush()
                await trio.lowlevel.checkpoint()
        egress.flush()


def tick(peer: PeerRecord, egress: Egress, events: PlaneEvents, wear: WearLimits, now: float) -> None:
    """Look after one peer: ping it, report it idle, report its worn keys."""
    peer.moves = 0
    if peer.heard:
        peer.heard = False
        peer.last_heard = now
    if peer.sent:
        peer.sent = False
        peer.last_sent = now
    if now - peer.last_sent >= peer.peer.ping_interval_s > 0:
        egress.ping(peer)
    if peer.worn_key(wear) is not None:
        events.key_worn(peer.peer_id)
    if not peer.idle_reported and now - peer.last_heard >= peer.peer.idle_timeout_s > 0:
        peer.idle_reported = True
        events.peer_idle(peer.peer_id)
