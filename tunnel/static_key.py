"""OpenVPN's static key: 256 octets shared by both sides, and which part each direction uses.

Owns the key file of tls-auth and tls-crypt, and the choice of halves. Must not know what is done with them.
"""

from __future__ import annotations

import binascii
import enum
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunnel.data_keys import KEY_BLOCK_SIZE, KeyHalf
from tunnel.errors import KeyFileError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KeyDirection", "StaticKey", "build_static_key", "generate_static_key", "parse_static_key"]

_BEGIN = "-----BEGIN OpenVPN Static key V1-----"
_END = "-----END OpenVPN Static key V1-----"
_BLOCK = re.compile(re.escape(_BEGIN) + r"(.*?)" + re.escape(_END), re.DOTALL)
_HALF_SIZE = 64
_OCTETS_PER_LINE = 16


class KeyDirection(enum.Enum):
    """Which of a static key's two halves each direction uses; the value is what `key-direction` says."""

    NORMAL = 0
    """Sends with the first, receives with the second: by convention the server."""
    INVERSE = 1
    """Sends with the second, receives with the first: by convention the client."""
    BIDIRECTIONAL = None
    """The first, both ways: where no direction is configured."""

    @property
    def send_index(self) -> int:
        """The half to send with."""
        return 1 if self is KeyDirection.INVERSE else 0

    @property
    def receive_index(self) -> int:
        """The half to receive with."""
        return 1 if self is KeyDirection.NORMAL else 0


@dataclass(frozen=True, slots=True)
class StaticKey:
    """256 octets of secret: two keys, each of a cipher half and an HMAC half of 64 octets.

    Raises KeyFileError if they are not 256.
    """

    octets: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.octets) != KEY_BLOCK_SIZE:
            raise KeyFileError(f"a static key has {KEY_BLOCK_SIZE} octets, not {len(self.octets)}")

    def half(self, index: int) -> KeyHalf:
        """Return one of the two keys: 0 or 1, as a `KeyDirection` tells."""
        start = index * 2 * _HALF_SIZE
        middle = start + _HALF_SIZE
        return KeyHalf(cipher=self.octets[start:middle], hmac=self.octets[middle : middle + _HALF_SIZE])


def generate_static_key(random_bytes: Callable[[int], bytes] = os.urandom) -> StaticKey:
    """Make a new key."""
    return StaticKey(random_bytes(KEY_BLOCK_SIZE))


def parse_static_key(text: str) -> StaticKey:
    """Parse a key file, or the inline block of a profile (OpenVPN `read_key_file`).

    White space and comments around the block are ignored. Raises KeyFileError for everything else.
    """
    match = _BLOCK.search(text)
    if match is None:
        raise KeyFileError(f"no static key: the file needs a block from {_BEGIN!r} to {_END!r}")
    digits = "".join(match[1].split())
    try:
        octets = binascii.unhexlify(digits)
    except ValueError:
        raise KeyFileError("the static key holds something else than hexadecimal digits, or an odd number") from None
    return StaticKey(octets)


def build_static_key(key: StaticKey) -> str:
    """Build the text of a key file; the inverse of `parse_static_key`."""
    lines = (key.octets[i : i + _OCTETS_PER_LINE].hex() for i in range(0, KEY_BLOCK_SIZE, _OCTETS_PER_LINE))
    return "\n".join(("#", "# 2048 bit OpenVPN static key", "#", _BEGIN, *lines, _END, ""))
