"""From a client to the TUN device, or to another client.

The steps, in the order in which a packet meets the functions:

    1. `from_udp`, `from_stream`   find peer and key by the first four octets; what is not such data goes to step 1b
    1b. `_other_from_udp`          control packets go up, DATA_V1 is found by its address, the rest is counted
    2. (there)                     open: authenticate, decrypt, check the replay window
    3. `_float`                    an authentic packet from a new address moves the peer there
    4. `forward`                   header, source, destination, size, MSS clamp; write to the TUN device
    5. `_swallow_or_refuse`        what does not begin like an IPv4 packet: pings, exit notices, rubbish
    6. `_aside`                    to another client, or dropped by the access table

Buffers: each packet arrives as a `bytes` of its own that nobody else holds. Opening makes another, which is written
to the device or handed to `Egress`, and forgotten. Nothing is kept across packets.

Nothing here waits, logs, or makes a record per packet; exceptions come only from packets that are dropped.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from tunnel.data_channel import Replayed
from tunnel.errors import BadPacket
from tunnel.inner_packet import IPV4_HEADER_SIZE, OwnMessage, clamp_mss, find_fault, own_message
from tunnel.plane import Drop, Verdict
from tunnel.wire import Opcode

if TYPE_CHECKING:
    from tunnel.plane import PlaneEvents
    from tunnel.pyplane.counters import DropCounters
    from tunnel.pyplane.egress import Egress
    from tunnel.pyplane.peers import PeerRecord, PeerTable
    from tunnel.pyplane.streams import Stream
    from tunnel.pyplane.tun_side import TunSide
    from tunnel.pyplane.udp_address import Source, UdpAddresses

__all__ = ["MOST_MOVES", "Ingress"]

_ipv4_fields = struct.Struct(">BxH5xB2x4s4s").unpack_from
"""Of an IPv4 header: first octet, total length, protocol, source, destination."""
MOST_MOVES: Final = 3
"""Changes of address per peer and second that are believed. A client that roams makes one; two senders that share
a session would make one per packet."""

_CONTROL: Final = frozenset(Opcode) - {Opcode.DATA_V1, Opcode.DATA_V2}
_NO_PEER_ID: Final = b"\xff\xff\xff"
_FORWARD: Final = Verdict.FORWARD
# Whether a packet may be a TCP SYN is asked inline, here and in `Egress`: a call would cost as much as the answer.
_PLAIN_IPV4: Final = 0x45
_TCP: Final = 6
_SYN: Final = 0x02
_MAY_BE_SYN_SIZE: Final = 40


class Ingress:
    """Takes outer packets, gives inner packets."""

    __slots__ = ("_addresses", "_by_head", "_counters", "_egress", "_mtu", "_peers", "_tun", "events")

    events: PlaneEvents
    """Who hears of control packets, floats and exits; set before the first packet."""

    def __init__(
        self,
        peers: PeerTable,
        counters: DropCounters,
        egress: Egress,
        tun: TunSide,
        addresses: UdpAddresses,
        *,
        mtu: int,
    ) -> None:
        self._peers = peers
        self._by_head = peers.by_head
        self._counters = counters
        self._egress = egress
        self._tun = tun
        self._mtu = mtu
        self._addresses = addresses

    def from_udp(self, packet: bytes, source: Source) -> None:
        """Take one datagram."""
        found = self._by_head.get(packet[:4])
        if found is None:
            self._other_from_udp(packet, source)
            return
        peer, key = found
        if peer.source is None:
            # This client came by TCP: it is valid on its own stream only.
            self._counters.drop(Drop.UNKNOWN_PEER)
            return
        try:
            payload = key.open_untrusted(packet)
        except BadPacket as error:
            self._refuse(peer, error)
            return
        if peer.source != source and not self._float(peer, source):
            return
        peer.heard = True
        self.forward(peer, payload)

    def from_stream(self, packet: bytes, stream: Stream) -> None:
        """Take one frame of a TCP stream."""
        opcode = packet[0] >> 3
        if opcode in _CONTROL:
            stream.keep()
            self.events.control_received(stream.path, packet)
        elif opcode == Opcode.DATA_V1 or packet[1:4] == _NO_PEER_ID:
            self._by_address(packet, stream.peer)
        elif opcode == Opcode.DATA_V2:
            peer = stream.peer
            own = peer is not None and packet[1:4] == peer.peer_id.to_bytes(3, "big")
            self._by_address(packet, peer if own else None)
        else:
            self._counters.drop(Drop.NOT_OPENVPN)

    def _other_from_udp(self, packet: bytes, source: Source) -> None:
        opcode = packet[0] >> 3 if packet else 0
        if opcode in _CONTROL:
            self.events.control_received(self._addresses.path_of(source), packet)
        elif opcode == Opcode.DATA_V1 or (opcode == Opcode.DATA_V2 and packet[1:4] == _NO_PEER_ID):
            self._by_address(packet, self._peers.by_source.get(source))
        elif opcode == Opcode.DATA_V2 and len(packet) >= 4:
            known = self._peers.by_id.get(int.from_bytes(packet[1:4], "big"))
            self._counters.drop(Drop.UNKNOWN_PEER if known is None else Drop.UNKNOWN_KEY, known)
        else:
            self._counters.drop(Drop.NOT_OPENVPN)

    def _by_address(self, packet: bytes, peer: PeerRecord | None) -> None:
        """A data packet whose peer is known by where it came from."""
        if peer is None:
            self._counters.drop(Drop.UNKNOWN_PEER)
            return
        key = peer.opening.get(packet[0] & 7)
        if key is None:
            self._counters.drop(Drop.UNKNOWN_KEY, peer)
            return
        try:
            payload = key.open_untrusted(packet)
        except BadPacket as error:
            self._refuse(peer, error)
            return
        peer.heard = True
        self.forward(peer, payload)

    def _refuse(self, peer: PeerRecord, error: BadPacket) -> None:
        self._counters.drop(Drop.REPLAY if isinstance(error, Replayed) else Drop.AUTHENTICATION, peer)

    def _float(self, peer: PeerRecord, source: Source) -> bool:
        """Follow a client to a new address; False where that is another client's, or it moves too often."""
        if source in self._peers.by_source or peer.moves >= MOST_MOVES:
            self._counters.drop(Drop.FLOAT_REFUSED, peer)
            return False
        peer.moves += 1
        self._peers.move(peer, source)
        self.events.peer_floated(peer.peer_id, self._addresses.path_of(source))
        return True

    def forward(self, peer: PeerRecord, packet: bytes) -> None:
        """Take one decrypted payload of an authentic packet."""
        train = self._tun.trains.get(packet[12:24])
        if train is not None and train.peer is peer and train.extend(packet):
            # Like the packets before it in everything that is looked at below.
            return
        size = len(packet)
        if size < IPV4_HEADER_SIZE:
            self._swallow_or_refuse(peer, packet)
            return
        first, total, protocol, source, destination = _ipv4_fields(packet)
        if (first != _PLAIN_IPV4 or total != size) and not self._swallow_or_refuse(peer, packet):
            return
        if source != peer.inside:
            self._counters.drop(Drop.SPOOFED_SOURCE, peer)
            return
        answer = peer.answers.get(destination) or peer.access.decide(destination)
        if size > self._mtu:
            self._counters.drop(Drop.OVERSIZE, peer)
            return
        if protocol == _TCP and peer.mss and size >= _MAY_BE_SYN_SIZE and (packet[33] & _SYN or first != _PLAIN_IPV4):
            packet = clamp_mss(packet, peer.mss)
        if answer is not _FORWARD:
            self._aside(peer, answer, destination, packet)
            return
        self._tun.write(peer, packet)

    def _swallow_or_refuse(self, peer: PeerRecord, payload: bytes) -> bool:
        """Whether the payload is a sound IPv4 packet after all; if not, it has been dealt with."""
        own = own_message(payload)
        if own is not None:
            if own is OwnMessage.EXIT:
                self.events.peer_exited(peer.peer_id)
            return False
        fault = find_fault(payload)
        if fault is not None:
            self._counters.drop(fault, peer)
        return fault is None

    def _aside(self, peer: PeerRecord, answer: Verdict | Drop, destination: bytes, packet: bytes) -> None:
        """A packet that does not go to the TUN device."""
        if isinstance(answer, Drop):
            self._counters.drop(answer, peer)
            return
        receiver = self._peers.by_inside.get(destination)
        if receiver is None:
            self._counters.drop(Drop.NO_PEER, peer)
            return
        peer.ingress_packets += 1
        peer.ingress_bytes += len(packet)
        self._egress.to_peer(receiver, packet)
