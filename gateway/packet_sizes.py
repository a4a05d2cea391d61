"""How large a TCP segment inside the tunnel may be, so that the packet around it stays within `mssfix`.

Pure arithmetic over the formats of OpenVPN data packets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunnel import Transport

if TYPE_CHECKING:
    from tunnel import Cipher, Path

__all__ = ["largest_segment"]

INNER_HEADERS = 20 + 20
"""IPv4 and TCP inside the tunnel, without options."""
OUTER_IP = {4: 20, 6: 40}
OUTER_TRANSPORT = {Transport.UDP: 8, Transport.TCP: 20 + 2}
"""UDP's header; TCP's, and the length before each packet."""
DATA_HEADER = 4
"""Opcode, key id and peer id; DATA_V1 has three octets less."""
PACKET_ID = 4
AEAD_TAG = 16
CBC_BLOCK = 16
HMAC_SIZES = {"SHA1": 20, "SHA256": 32, "SHA512": 64}
SMALLEST_SEGMENT = 536 - 40
"""RFC 879's default less some: below it the clamp would do more harm than fragments."""


def largest_segment(mssfix: int, mtu: int, path: Path, cipher: Cipher, auth: str) -> int:
    """The MSS for a client on this path, in octets; 0, which leaves SYNs alone, for `mssfix` 0."""
    if not mssfix:
        return 0
    version = 6 if ":" in path.remote[0] and "." not in path.remote[0] else 4
    room = mssfix - OUTER_IP[version] - OUTER_TRANSPORT[path.transport] - DATA_HEADER
    inner = room - PACKET_ID - AEAD_TAG if cipher.is_aead else _cbc_payload(room, auth)
    return max(SMALLEST_SEGMENT, min(inner, mtu) - INNER_HEADERS)


def _cbc_payload(room: int, auth: str) -> int:
    """HMAC and IV in front, then whole blocks: packet id, payload, and at least one octet of padding."""
    blocks = (room - HMAC_SIZES.get(auth, 64) - CBC_BLOCK) // CBC_BLOCK
    return blocks * CBC_BLOCK - PACKET_ID - 1
