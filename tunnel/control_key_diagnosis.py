"""Why a client's control-channel key may be wrong, for the person who reads the log.

Owns guesses that cost a few HMACs each: the caller asks for a packet that it is about to log, and not for every
packet of a flood. Decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunnel.control_wrap import TlsAuthWrap
from tunnel.errors import BadPacket
from tunnel.static_key import KeyDirection
from tunnel.wire import WKC_OPCODES, opcode_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunnel.front_door import FrontDoorKeys

__all__ = ["diagnose_control_key_untrusted"]

_DIGESTS = ("SHA1", "SHA256", "SHA512")
_CLIENT_DIRECTION = {
    KeyDirection.NORMAL: "key-direction 1",
    KeyDirection.INVERSE: "key-direction 0 or none",
    KeyDirection.BIDIRECTIONAL: "no key-direction",
}
"""What a client must have for a server of this direction."""

_RESET_SIZES = {
    14: "It has no protection.",
    42: "By its length it uses tls-auth with SHA1.",
    54: "By its length it uses tls-crypt, or tls-auth with SHA256.",
    86: "By its length it uses tls-auth with SHA512.",
}


def diagnose_control_key_untrusted(data: bytes, keys: FrontDoorKeys) -> str:
    """Return a sentence about a reset that no key of the endpoint verifies, such as the front door ignored."""
    if data and opcode_of(data) in WKC_OPCODES:
        return "The client's tls-crypt-v2 key was not made with this endpoint's tls-crypt-v2 server key."
    for digest, direction in _other_tls_auth_settings(keys):
        if _verifies_tls_auth(data, keys, digest, direction):
            return (
                f"The client has the right tls-auth key, but uses auth {digest} and {_CLIENT_DIRECTION[direction]}, "
                f"where this endpoint wants auth {keys.tls_auth_digest} and "
                f"{_CLIENT_DIRECTION[keys.tls_auth_direction]}."
            )
    guess = _RESET_SIZES.get(len(data))
    sentence = "The packet is not authentic under any control-channel key of this endpoint."
    return sentence if guess is None else f"{sentence} {guess}"


def _other_tls_auth_settings(keys: FrontDoorKeys) -> Iterator[tuple[str, KeyDirection]]:
    """Yield what clients use instead, by mistake: the two halves of the key, the usual digests."""
    if keys.tls_auth is not None:
        for digest in dict.fromkeys((keys.tls_auth_digest, *_DIGESTS)):
            yield digest, KeyDirection.NORMAL
            yield digest, KeyDirection.INVERSE


def _verifies_tls_auth(data: bytes, keys: FrontDoorKeys, digest: str, direction: KeyDirection) -> bool:
    if keys.tls_auth is None:
        return False
    try:
        TlsAuthWrap(keys.tls_auth, direction, digest).open_untrusted(data)
    except BadPacket:
        return False
    return True
