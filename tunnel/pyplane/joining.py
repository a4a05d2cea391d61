"""Joining consecutive TCP segments of one flow, as the kernel's GRO would if they came from a network card.

Owns the rules: which packet may begin a train, which may continue it, which ends it. Knows no device: what becomes of a
train, `tun_side` decides.

A train holds what a sender's TCP cut out of one piece of data: the headers are equal but for what counts on. Whoever
cuts a train up again, by the first header and the segment size, gets the same segments. So:

    never in a train     IP options, fragments, packets without DF, flags other than ACK and PSH, no data
    same in a train      addresses, ports, TTL, TOS, acknowledgement, window, TCP options, urgent pointer
    counts on            the sequence number, by the data before it
    ends a train         PSH, data that is shorter than the first segment's, 64 segments, 65,535 octets

Only DF packets, because their identification means nothing (RFC 6864, 4.1) and is not kept. Checksums are verified
before a train is written, since joining would launder a damaged packet: a train that is not intact is passed on packet
by packet, and the receiver drops what is wrong. All packets of a train are verified as one sum, each with a weight of
its own. That finds any one that is wrong as surely as its own checksum would. Of several wrong ones, the errors would
have to cancel out under these weights; the same bit damaged in two packets never does.

That check is the dearest part of a packet's way in: 1.1 µs for 1400 octets. What it buys is one write for about 30
packets (2.3 µs each), and as few acknowledgements to carry back.

https://docs.kernel.org/networking/segmentation-offloads.html; the kernel's rules are in net/ipv4/tcp_offload.c
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Final

from tunnel.tun_offload import train_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunnel.pyplane.peers import PeerRecord

__all__ = ["Train", "flow_of", "is_whole", "may_begin"]

_MOST_SEGMENTS: Final = 64
_MOST_OCTETS: Final = 65_535
_IPV4_HEADER_SIZE: Final = 20
_WORTH_IT: Final = 128
"""The shortest packet that begins a train, in octets: longer than any bare acknowledgement."""
_PLAIN_IPV4: Final = 0x45
_DF_ONLY: Final = b"\x40\x00"
_UNFRAGMENTED: Final = (_DF_ONLY, b"\x00\x00")
_SHORTEST_TCP_HEADER: Final = 0x50
_TCP: Final = 6
_ACK: Final = 0x10
_ACK_ONLY: Final = b"\x10"
_MAY_BE_LAST: Final = (_ACK_ONLY, b"\x18")
"""Flags of the last segment: ACK, or ACK and PSH."""
_NEVER: Final = -1
"""A sequence number that no packet has: nothing continues the train any more."""

_FOLDS: Final = (5632, 2816, 1408, 704)
"""In halves, from 1408 octets on: each a multiple of 16 bits."""
_WEIGHT: Final = 7
"""What each packet weighs in comparison with the next. None of its first 63 powers is a power of two or the negative of
one, modulo 65,535."""
_WEIGHTS: Final = tuple(sum(_WEIGHT**n for n in range(1, count + 1)) for count in range(64))
"""Of so many packets before the last one, together."""
_PSEUDO_HEADER: Final = _TCP - _IPV4_HEADER_SIZE
"""What is missing of the pseudo-header: the protocol, and a length that does not count the IP header."""


def flow_of(packet: bytes) -> bytes:
    """Addresses and ports of a TCP packet without IP options; of any other packet, octets that mean something else."""
    return packet[12:24]


def is_whole(packet: bytes) -> bool:
    """Whether a sound IPv4 packet has its ports where `flow_of` looks for them: no IP options, no fragment."""
    return packet[0] == _PLAIN_IPV4 and packet[6:8] in _UNFRAGMENTED


def may_begin(packet: bytes) -> bool:
    """Whether a sound IPv4 packet of TCP may begin a train."""
    return (
        len(packet) >= _WORTH_IT
        and packet[33] == _ACK
        and packet[0] == _PLAIN_IPV4
        and packet[6:8] == _DF_ONLY
        and packet[32] >= _SHORTEST_TCP_HEADER
        and not packet[32] & 0x0F
        and _IPV4_HEADER_SIZE + (packet[32] >> 4) * 4 < len(packet)
    )


@functools.cache
def _fields_of(header_size: int) -> Callable[[bytes], tuple[bytes, bytes, int, bytes, bytes]]:
    """Takes packets with so many octets of headers apart.

    Gives version to total length, fragment to protocol, sequence number, acknowledgement to window, urgent pointer and
    options. Addresses and ports are left out: they made this the packet's train.
    """
    return struct.Struct(f">4s2x4s14xI8s2x{header_size - 38}s").unpack_from


class Train:
    """The segments of one flow that were joined so far; a single one is a train too."""

    __slots__ = (
        "_control",
        "_data_size",
        "_fields",
        "_fixed",
        "_header_size",
        "_most",
        "_next",
        "_options",
        "_segment_size",
        "_start",
        "packets",
        "peer",
    )

    def __init__(self, peer: PeerRecord, packet: bytes) -> None:
        """`packet` is one that `may_begin`."""
        self.peer = peer
        self.packets = [packet]
        self._segment_size = len(packet)
        self._header_size = header_size = _IPV4_HEADER_SIZE + (packet[32] >> 4) * 4
        self._data_size = data_size = len(packet) - header_size
        """Octets of data in every segment but the last."""
        self._most = min(_MOST_SEGMENTS, (_MOST_OCTETS - header_size) // data_size)
        self._fields = _fields_of(header_size)
        self._start, self._fixed, sequence, self._control, self._options = self._fields(packet)
        self._next = (sequence + data_size) & 0xFFFF_FFFF

    def extend(self, packet: bytes) -> bool:
        """Take a packet of this flow that continues the train; False, and nothing done, where it does not.

        No checksum is looked at: `is_intact` does that for all. An IP header's is not looked at even there but for the
        first, since what of the header has a meaning is the same in all.
        """
        if len(packet) != self._segment_size:
            return self._end(packet)
        start, fixed, sequence, control, options = self._fields(packet)
        if control != self._control:
            return self._end(packet)
        if sequence != self._next or options != self._options or start != self._start or fixed != self._fixed:
            return False
        packets = self.packets
        packets.append(packet)
        self._next = (sequence + self._data_size) & 0xFFFF_FFFF if len(packets) < self._most else _NEVER
        return True

    def _end(self, packet: bytes) -> bool:
        """Take the last segment: one with PSH, or with less data."""
        if not self._header_size < len(packet) <= self._segment_size:
            return False
        start, fixed, sequence, control, options = self._fields(packet)
        if (
            sequence != self._next
            or options != self._options
            or start != self._start[:2] + len(packet).to_bytes(2, "big")
            or fixed != self._fixed
            or (control[5:6] not in _MAY_BE_LAST or control[:5] + _ACK_ONLY + control[6:] != self._control)
        ):
            return False
        self.packets.append(packet)
        self._next = _NEVER
        return True

    def pieces(self) -> list[bytes]:
        """An intact train as one packet for a device as `tun_offload` describes it: headers, then all data."""
        header_size, packets = self._header_size, self.packets
        size = self._data_size * (len(packets) - 1) + len(packets[-1])
        head = train_header(packets[0][:header_size], size, self._data_size, last_flags=packets[-1][33])
        return [head, *[packet[header_size:] for packet in packets]]

    def is_intact(self) -> bool:
        """Whether the TCP checksums of all packets are right, and the IP header's of the first (RFC 9293 3.1).

        The addresses, which stand just before a segment, are most of the pseudo-header: so from the 12th octet on a
        packet is one number that is 0 modulo 65,535, but for protocol and length. The weighted sum of these numbers is
        folded on borders of 16 bits before it is divided, which is faster than dividing it.
        """
        *equal, last = self.packets
        total = 0
        for packet in equal:
            total = total * _WEIGHT + int.from_bytes(packet[12:], "big")
        if self._segment_size & 1:
            total <<= 8
        total = total * _WEIGHT + (int.from_bytes(last[12:], "big") << 8 * (len(last) & 1))
        for bits in _FOLDS:
            total = (total & (1 << bits) - 1) + (total >> bits)
        total += (self._segment_size + _PSEUDO_HEADER) * _WEIGHTS[len(equal)] + len(last) + _PSEUDO_HEADER
        return not total % 65_535 and not int.from_bytes(equal[0][:_IPV4_HEADER_SIZE], "big") % 65_535
