"""The bytes of OpenVPN's control packets: opcodes, the unwrapped packet, early negotiation.

Owns the layout that all protections share. Must not know keys, sessions or time. Parsing raises only
`BadPacket`; whatever parses has every length checked and builds back to the same octets.

    octet 0       opcode (5 bits), key id (3 bits)        ┐ the header: HEADER_SIZE octets, never encrypted
          1..8    session id of the sender                ┘
          9       number n of acknowledgements, 0 to 8    ┐ the body: what tls-crypt encrypts
                  n message ids, 4 octets each            │
                  session id of the receiver, if n > 0    │
                  message id, 4 octets, not in ACK_V1     │
                  payload, not in ACK_V1                  ┘
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import NamedTuple

from tunnel.errors import BadPacket

__all__ = [
    "CLIENT_RESETS",
    "EARLY_NEGOTIATION_START",
    "HEADER_SIZE",
    "MAX_ACKS",
    "MAX_CONTROL_PACKET",
    "SESSION_ID_SIZE",
    "UNSET_SESSION_ID",
    "WKC_OPCODES",
    "ControlPacket",
    "EarlyNegotiation",
    "Opcode",
    "build_control_body",
    "build_control_header",
    "build_early_negotiation",
    "key_id_of",
    "opcode_of",
    "parse_control_untrusted",
    "parse_early_negotiation_untrusted",
]

SESSION_ID_SIZE = 8
HEADER_SIZE = 1 + SESSION_ID_SIZE
MAX_ACKS = 8
"""More acknowledgements than this are malformed (OpenVPN `RELIABLE_ACK_SIZE`)."""
MAX_CONTROL_PACKET = 4096
"""Octets of the longest control packet accepted. Clients send 1250, and never more than 2048 of TLS
(`TLS_CHANNEL_BUF_SIZE`), a wrapped key of 1024 and the protection. Bounds what strangers can make wait for its turn."""
UNSET_SESSION_ID = bytes(SESSION_ID_SIZE)
"""All zeros means that no session id was chosen; nobody may use it."""

EARLY_NEGOTIATION_START = 0x0F000000
"""A client that can do early negotiation counts the replay ids of its packets from here (`EARLY_NEG_START`)."""

_TLV_HEADER = struct.Struct("!HH")
_U16 = struct.Struct("!H")
_EARLY_NEGOTIATION_FLAGS = 0x0001
_RESEND_WKC = 0x0001


class Opcode(enum.IntEnum):
    """What a packet is: the upper five bits of its first octet. 1 and 2 (key method 1) are long gone."""

    SOFT_RESET_V1 = 3
    """Opens the next key id: renegotiation, from either side."""
    CONTROL_V1 = 4
    """Carries TLS."""
    ACK_V1 = 5
    """Acknowledges, and carries nothing; itself never acknowledged."""
    DATA_V1 = 6
    """Data without a peer id."""
    HARD_RESET_CLIENT_V2 = 7
    """A client's first packet."""
    HARD_RESET_SERVER_V2 = 8
    """The server's answer to either client reset."""
    DATA_V2 = 9
    """Data with a 24-bit peer id."""
    HARD_RESET_CLIENT_V3 = 10
    """A client's first packet with tls-crypt-v2: its wrapped key follows the packet."""
    CONTROL_WKC_V1 = 11
    """CONTROL_V1 with the wrapped key once more, for a server that kept no state."""


CLIENT_RESETS = frozenset({Opcode.HARD_RESET_CLIENT_V2, Opcode.HARD_RESET_CLIENT_V3})
"""What opens an association."""
WKC_OPCODES = frozenset({Opcode.HARD_RESET_CLIENT_V3, Opcode.CONTROL_WKC_V1})
"""The packets that a wrapped client key follows on the wire."""

_CONTROL_OPCODES = {int(opcode): opcode for opcode in Opcode if opcode not in (Opcode.DATA_V1, Opcode.DATA_V2)}


def opcode_of(packet: bytes) -> int:
    """Return the opcode of a packet of at least one octet; any number from 0 to 31."""
    return packet[0] >> 3


def key_id_of(packet: bytes) -> int:
    """Return the key id, 0 to 7, of a packet of at least one octet."""
    return packet[0] & 7


class ControlPacket(NamedTuple):
    """A control packet without its protection.

    A tuple, since there is one for each packet: a frozen dataclass takes three times as long to make.
    """

    opcode: Opcode
    key_id: int
    """0 to 7."""
    session_id: bytes
    """The sender's own, never all zeros."""
    acks: tuple[int, ...] = ()
    """Message ids that the sender has received, at most 8."""
    remote_session_id: bytes | None = None
    """The receiver's, as the sender knows it; only, and always, beside acknowledgements."""
    message_id: int | None = None
    """Position in the sender's reliable stream of this key id; None only for ACK_V1."""
    payload: bytes = b""
    """Octets of TLS; for a reset nothing, or early negotiation. Empty for ACK_V1."""


def parse_control_untrusted(header: bytes, body: bytes) -> ControlPacket:
    """Parse the nine octets of the header and the body behind it.

    Raises BadPacket for an opcode that is not a control packet's, an all-zero session id, too many
    acknowledgements, a body that ends early, or octets behind an ACK_V1.
    """
    if len(header) != HEADER_SIZE or not body:
        raise BadPacket("the control packet is too short")
    opcode = _CONTROL_OPCODES.get(header[0] >> 3)
    if opcode is None:
        raise BadPacket(f"opcode {header[0] >> 3} is not a control packet's")
    session_id = header[1:]
    if session_id == UNSET_SESSION_ID:
        raise BadPacket("the session id is all zeros")
    acks, remote_session_id, offset = _parse_acks_untrusted(body)
    message_id: int | None = None
    if opcode is Opcode.ACK_V1:
        if len(body) != offset:
            raise BadPacket("octets follow an ACK_V1")
    else:
        if len(body) < offset + 4:
            raise BadPacket("the control packet ends inside its message id")
        message_id = int.from_bytes(body[offset : offset + 4], "big")
        offset += 4
    return ControlPacket(opcode, header[0] & 7, session_id, acks, remote_session_id, message_id, body[offset:])


def _parse_acks_untrusted(body: bytes) -> tuple[tuple[int, ...], bytes | None, int]:
    """Return the acknowledged ids, the session id beside them, and where the next field begins."""
    count = body[0]
    if count == 0:
        return (), None, 1
    if count > MAX_ACKS:
        raise BadPacket(f"{count} acknowledgements in one packet")
    ids_end = 1 + 4 * count
    end = ids_end + SESSION_ID_SIZE
    if len(body) < end:
        raise BadPacket("the control packet ends inside its acknowledgements")
    return struct.unpack_from(f"!{count}I", body, 1), body[ids_end:end], end


def build_control_header(packet: ControlPacket) -> bytes:
    """Build the nine octets that no protection hides."""
    return bytes((packet.opcode << 3 | packet.key_id,)) + packet.session_id


def build_control_body(packet: ControlPacket) -> bytes:
    """Build everything behind the header."""
    if packet.acks and packet.remote_session_id is not None:
        count = len(packet.acks)
        parts = [struct.pack(f"!B{count}I", count, *packet.acks), packet.remote_session_id]
    else:
        parts = [b"\0"]
    if packet.message_id is not None:
        parts += (packet.message_id.to_bytes(4, "big"), packet.payload)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class EarlyNegotiation:
    """What a HARD_RESET_SERVER_V2 asks of a client before TLS begins."""

    resend_wkc: bool = False
    """Send the wrapped key again, in CONTROL_WKC_V1: this server has kept no state."""


def parse_early_negotiation_untrusted(payload: bytes) -> EarlyNegotiation:
    """Parse the payload of a reset: type, length, value, repeated; unknown types are skipped.

    Raises BadPacket where a value is cut short, or the flags have another length than 2.
    """
    resend_wkc = False
    offset = 0
    while offset < len(payload):
        if len(payload) < offset + _TLV_HEADER.size:
            raise BadPacket("the early negotiation ends inside a header")
        kind, length = _TLV_HEADER.unpack_from(payload, offset)
        offset += _TLV_HEADER.size
        value = payload[offset : offset + length]
        if len(value) < length:
            raise BadPacket("the early negotiation ends inside a value")
        if kind == _EARLY_NEGOTIATION_FLAGS:
            if length != _U16.size:
                raise BadPacket(f"early negotiation flags of {length} octets")
            resend_wkc = bool(_U16.unpack(value)[0] & _RESEND_WKC)
        offset += length
    return EarlyNegotiation(resend_wkc)


def build_early_negotiation(negotiation: EarlyNegotiation) -> bytes:
    """Build the payload of a reset; empty where there is nothing to ask."""
    if not negotiation.resend_wkc:
        return b""
    return _TLV_HEADER.pack(_EARLY_NEGOTIATION_FLAGS, _U16.size) + _U16.pack(_RESEND_WKC)
