"""Data ciphers and the key material of the data channel: what is negotiated above and used below.

The 256 octets that a key exchange gives (OpenVPN `struct key2`) are two keys of a 64-octet cipher half and a
64-octet HMAC half each: the first from the client to the server, the second the other way.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

__all__ = ["KEY_BLOCK_SIZE", "Cipher", "DataKey", "KeyHalf", "split_key_block"]

KEY_BLOCK_SIZE = 256


class Cipher(enum.Enum):
    """The data ciphers that Portway speaks; the value is OpenVPN's name."""

    AES_256_GCM = "AES-256-GCM"
    AES_128_GCM = "AES-128-GCM"
    CHACHA20_POLY1305 = "CHACHA20-POLY1305"
    AES_256_CBC = "AES-256-CBC"
    AES_128_CBC = "AES-128-CBC"

    @property
    def key_size(self) -> int:
        """Octets of the cipher half that this cipher uses."""
        return 16 if self in (Cipher.AES_128_GCM, Cipher.AES_128_CBC) else 32

    @property
    def is_aead(self) -> bool:
        """False for the CBC ciphers, which need an HMAC beside them."""
        return self not in (Cipher.AES_256_CBC, Cipher.AES_128_CBC)


@dataclass(frozen=True, slots=True)
class KeyHalf:
    """One direction's key: 64 octets for the cipher, 64 for the HMAC (AEAD: its first 8 are the nonce's tail)."""

    cipher: bytes = field(repr=False)
    hmac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DataKey:
    """What the plane needs to open and seal the data packets of one key id."""

    key_id: int
    """0 to 7."""
    cipher: Cipher
    send: KeyHalf
    receive: KeyHalf
    auth: str = "SHA1"
    """The HMAC digest of the CBC ciphers, by OpenVPN's name (SHA1, SHA256, SHA512); AEAD ciphers ignore it."""


def split_key_block(block: bytes, *, server: bool) -> tuple[KeyHalf, KeyHalf]:
    """Split a key block of 256 octets into (send, receive) for one side.

    The server sends with the second key, the client with the first: the data channel's directions are the
    reverse of the control channel's (OpenVPN `init_key_contexts`).
    """
    client_to_server = KeyHalf(cipher=block[0:64], hmac=block[64:128])
    server_to_client = KeyHalf(cipher=block[128:192], hmac=block[192:256])
    return (server_to_client, client_to_server) if server else (client_to_server, server_to_client)
