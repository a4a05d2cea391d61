"""Packets in a TCP stream: a length of two octets before each.

Owns the cutting and the bound on what may be half received. Must not know what is in a packet.
"""

from __future__ import annotations

from tunnel.errors import BadPacket

__all__ = ["MAX_STREAM_PACKET", "StreamFramer", "frame"]

_LENGTH_SIZE = 2
MAX_STREAM_PACKET = 10_240
"""The longest packet accepted, in octets: one with a jumbo frame of 9,000 inside. Bounds the memory of a stream."""


class StreamFramer:
    """Cuts one received stream into packets; segments may be cut anywhere."""

    __slots__ = ("_max_packet", "_rest")

    def __init__(self, max_packet: int = MAX_STREAM_PACKET) -> None:
        self._max_packet = max_packet
        self._rest = b""

    def feed_untrusted(self, data: bytes) -> list[bytes]:
        """Take what the stream brought; return the packets that are complete now, in order.

        Raises BadPacket for a length of 0 or beyond the maximum. The stream is out of step then: close it.
        """
        if self._rest:
            data = self._rest + data
        packets = []
        start = 0
        while (body := start + _LENGTH_SIZE) <= len(data):
            length = data[start] << 8 | data[start + 1]
            if not 0 < length <= self._max_packet:
                raise BadPacket(f"a packet of {length} octets in the stream")
            end = body + length
            if end > len(data):
                break
            packets.append(data[body:end])
            start = end
        self._rest = data[start:]
        return packets


def frame(packet: bytes) -> bytes:
    """Return a packet as it goes into a stream. Raises OverflowError beyond 65,535 octets."""
    return len(packet).to_bytes(_LENGTH_SIZE, "big") + packet
