"""What travels inside a data packet: an IPv4 packet, a ping, or an OCC message.

Owns the octets after decryption and before encryption: the magic numbers of OpenVPN's own messages, the checks of an
IPv4 header, and the clamping of the MSS in TCP SYNs. Knows nothing of peers, keys or sockets.

An IPv4 packet must fill its data packet exactly. A TUN device never pads, so octets beyond the header's total length
are a mistake or a hiding place: such a packet counts as `Drop.BAD_HEADER`.
"""

from __future__ import annotations

import enum
from typing import Final

from tunnel.plane import Drop

__all__ = [
    "IPV4_HEADER_SIZE",
    "OCC_EXIT",
    "OCC_MAGIC",
    "PING",
    "OwnMessage",
    "clamp_mss",
    "find_fault",
    "is_unicast",
    "own_message",
]

PING: Final = bytes.fromhex("2a187bf3641eb4cb07ed2d0a981fc748")
"""The whole payload of a keepalive (OpenVPN `ping.c`)."""

OCC_MAGIC: Final = bytes.fromhex("287f346bd4ef7a812d56b8d3afc5459c")
"""The beginning of an options-consistency message; one octet says which (OpenVPN `occ.h`)."""

OCC_EXIT: Final = OCC_MAGIC + b"\x06"
"""The exit notice of clients that cannot say it in the control channel."""

IPV4_HEADER_SIZE: Final = 20
"""Octets of an IPv4 header without options (RFC 791)."""

_TCP: Final = 6
_TCP_HEADER_SIZE: Final = 20
_FLAG_SYN: Final = 0x02
_OPTION_END, _OPTION_NOTHING, _OPTION_MSS, _OPTION_MSS_SIZE = 0, 1, 2, 4


class OwnMessage(enum.Enum):
    """OpenVPN's own messages in the data channel; none of them may reach the TUN device."""

    PING = "ping"
    """Keepalive."""
    OCC = "occ"
    """An options-consistency message that asks for nothing here: request, reply, MTU test."""
    EXIT = "exit"
    """The client says that it leaves."""


def own_message(payload: bytes) -> OwnMessage | None:
    """Which of OpenVPN's own messages a decrypted payload is; None for anything else."""
    if payload == PING:
        return OwnMessage.PING
    if not payload.startswith(OCC_MAGIC):
        return None
    return OwnMessage.EXIT if payload[16:17] == OCC_EXIT[16:17] else OwnMessage.OCC


def find_fault(packet: bytes) -> Drop | None:
    """What is wrong with the header of an inner packet: `NOT_IPV4`, `BAD_HEADER`, or None for a sound one (RFC 791).

    The header checksum is the business of whoever receives the packet.
    """
    if not packet or packet[0] >> 4 != 4:
        return Drop.NOT_IPV4
    header_size = (packet[0] & 0x0F) * 4
    if header_size < IPV4_HEADER_SIZE or header_size > len(packet):
        return Drop.BAD_HEADER
    if int.from_bytes(packet[2:4], "big") != len(packet):
        return Drop.BAD_HEADER
    return None


def is_unicast(address: bytes) -> bool:
    """Whether 4 octets name one host: not 0/8, 127/8, multicast, reserved or broadcast (RFC 1122 3.2.1.3, RFC 6890)."""
    return 0 < address[0] < 224 and address[0] != 127


def clamp_mss(packet: bytes, limit: int) -> bytes:
    """The packet with the MSS that a TCP SYN announces lowered to `limit` octets, its checksum corrected.

    Any other packet, and a SYN that asks for no more, comes back as it is. A SYN without the option stays without:
    its sender means 536 octets (RFC 9293 3.7.1). The packet must be one that `find_fault` finds sound.
    """
    at = _find_mss(packet)
    if at is None:
        return packet
    announced = int.from_bytes(packet[at : at + 2], "big")
    if announced <= limit:
        return packet
    clamped = bytearray(packet)
    clamped[at : at + 2] = limit.to_bytes(2, "big")
    checksum_at = (packet[0] & 0x0F) * 4 + 16
    checksum = int.from_bytes(packet[checksum_at : checksum_at + 2], "big")
    # An option may begin at an odd offset of the segment: then both octets change sides in the 16-bit sum.
    odd = (at - checksum_at) & 1
    old, new = (_swap(announced), _swap(limit)) if odd else (announced, limit)
    clamped[checksum_at : checksum_at + 2] = _update_checksum(checksum, old, new).to_bytes(2, "big")
    return bytes(clamped)


def _find_mss(packet: bytes) -> int | None:
    """Where the value of the MSS option of a TCP SYN stands; None when this is not one, or its options are broken."""
    tcp = (packet[0] & 0x0F) * 4
    later_fragment = int.from_bytes(packet[6:8], "big") & 0x1FFF
    if packet[9] != _TCP or later_fragment or len(packet) < tcp + _TCP_HEADER_SIZE or not packet[tcp + 13] & _FLAG_SYN:
        return None
    at = tcp + _TCP_HEADER_SIZE
    end = min(tcp + (packet[tcp + 12] >> 4) * 4, len(packet))
    while at + 1 < end and packet[at] != _OPTION_END:
        if packet[at] == _OPTION_NOTHING:
            at += 1
            continue
        size = packet[at + 1]
        if size < 2 or at + size > end:
            return None
        if packet[at] == _OPTION_MSS:
            return at + 2 if size == _OPTION_MSS_SIZE else None
        at += size
    return None


def _swap(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8


def _update_checksum(checksum: int, old: int, new: int) -> int:
    """The Internet checksum after one 16-bit word of what it covers changed (RFC 1624, equation 3)."""
    total = (~checksum & 0xFFFF) + (~old & 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
