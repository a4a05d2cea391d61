"""From the TUN device, or from another client, to a client.

The steps, in the order in which a packet meets the functions:

    1. `from_tun`   IPv4? who owns the destination?
    2. `to_peer`    MSS clamp, seal under the key in force, into the peer's outbox
    3. `flush`      at the end of each turn: every outbox in as few system calls as possible

Buffers: a packet is a `bytes` that is read only. Its sealed form waits in the peer's outbox until the end of the turn,
which bounds the outboxes by the budget of a turn; then it belongs to the socket or to the stream's backlog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tunnel.data_channel import KeyUsedUp
from tunnel.inner_packet import PING, clamp_mss, find_fault
from tunnel.plane import Drop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunnel.pyplane.counters import DropCounters
    from tunnel.pyplane.peers import PeerRecord, PeerTable
    from tunnel.pyplane.udp_side import UdpSide

__all__ = ["Egress"]

_PLAIN_IPV4: Final = 0x45
_TCP: Final = 6
_SYN: Final = 0x02
_MAY_BE_SYN_SIZE: Final = 40


class Egress:
    """Takes inner packets, gives outer packets."""

    __slots__ = ("_by_inside", "_counters", "_udp", "_waiting")

    def __init__(self, peers: PeerTable, counters: DropCounters, udp: UdpSide | None) -> None:
        self._by_inside = peers.by_inside
        self._counters = counters
        self._udp = udp
        self._waiting: list[PeerRecord] = []
        """Peers with something in their outbox."""

    def from_tun(self, packet: bytes) -> None:
        """Take one packet that the host routed into the tunnel."""
        if (packet[0] != _PLAIN_IPV4 or len(packet) < 20) and (fault := find_fault(packet)) is not None:
            # Mostly IPv6 router solicitations, which the kernel sends into every device.
            self._counters.drop(fault)
            return
        peer = self._by_inside.get(packet[16:20])
        if peer is None:
            self._counters.drop(Drop.NO_PEER)
            return
        self.to_peer(peer, packet)

    def to_peer(self, peer: PeerRecord, packet: bytes) -> None:
        """Seal one sound IPv4 packet for a client."""
        key = peer.sending
        if key is None:
            self._counters.drop(Drop.NO_KEY, peer)
            return
        stream = peer.stream
        if stream is not None and stream.is_full:
            self._counters.drop(Drop.BACKLOG, peer)
            return
        size = len(packet)
        if (
            packet[9] == _TCP
            and size >= _MAY_BE_SYN_SIZE
            and (packet[33] & _SYN or packet[0] != _PLAIN_IPV4)
            and peer.mss
        ):
            packet = clamp_mss(packet, peer.mss)
        try:
            sealed = key.seal(packet)
        except KeyUsedUp:
            self._counters.drop(Drop.NO_KEY, peer)
            return
        outbox = peer.outbox
        if not outbox:
            self._waiting.append(peer)
        outbox.append(sealed)
        peer.egress_packets += 1
        peer.egress_bytes += size

    def ping(self, peer: PeerRecord) -> None:
        """Let a client know that the gateway is there. It is no traffic, and counts as none."""
        if peer.sending is None or (peer.stream is not None and peer.stream.is_full):
            return
        try:
            sealed = peer.sending.seal(PING)
        except KeyUsedUp:
            return
        if not peer.outbox:
            self._waiting.append(peer)
        peer.outbox.append(sealed)

    def flush(self) -> None:
        """Send what the turn has produced."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for peer in waiting:
            sealed, peer.outbox = peer.outbox, []
            peer.sent = True
            failed = self._send(peer, sealed)
            if failed:
                self._counters.drop(Drop.SEND_FAILED, peer, failed)

    def _send(self, peer: PeerRecord, sealed: Sequence[bytes]) -> int:
        """Hand sealed packets to the peer's transport; returns how many it did not take."""
        if not sealed:
            return 0
        if peer.source is not None and self._udp is not None:
            return self._udp.send(sealed, peer.source)
        if peer.stream is not None and peer.stream.send(sealed):
            return 0
        return len(sealed)
