"""tls-crypt-v2: a tls-crypt key per client, which the client itself brings along, wrapped by the server's key.

Owns the two key files and the wrapped client key (WKc). Must not know who may connect: what the metadata inside
a wrapped key means is for others to judge. Packets are protected by plain tls-crypt with the client's key.

    WKc = T | AES-256-CTR(Ke, IV = T[:16], Kc | metadata) | length        T = HMAC-SHA256(Ka, length | Kc | metadata)

On the wire the WKc follows, outside of the protection, the packets of opcodes 10 and 11.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunnel.control_wrap import TLS_CRYPT_OVERHEAD, SyntheticIv
from tunnel.data_keys import KEY_BLOCK_SIZE
from tunnel.errors import BadPacket, KeyFileError
from tunnel.static_key import StaticKey, generate_static_key
from tunnel.wire import HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_METADATA_SIZE",
    "MAX_WKC_SIZE",
    "MIN_WKC_SIZE",
    "ClientKey",
    "Metadata",
    "ServerKey",
    "build_client_key",
    "build_server_key",
    "generate_client_key",
    "generate_server_key",
    "parse_client_key",
    "parse_server_key",
    "split_wkc_untrusted",
    "unwrap_client_key_untrusted",
    "wrap_client_key",
]

_TAG_SIZE = 32
_LENGTH_SIZE = 2
_SERVER_KEY_SIZE = 128
_MIN_PACKET_SIZE = HEADER_SIZE + TLS_CRYPT_OVERHEAD

MIN_WKC_SIZE = _TAG_SIZE + KEY_BLOCK_SIZE + _LENGTH_SIZE
"""A wrapped key without metadata."""
MAX_WKC_SIZE = 1024
"""OpenVPN `TLS_CRYPT_V2_MAX_WKC_LEN`."""
MAX_METADATA_SIZE = MAX_WKC_SIZE - MIN_WKC_SIZE
"""Octets, the type included."""

_TIMESTAMP_SIZE = 8
_SERVER_LABEL = "OpenVPN tls-crypt-v2 server key"
_CLIENT_LABEL = "OpenVPN tls-crypt-v2 client key"
_BASE64_LINE = 64


@dataclass(frozen=True, slots=True)
class ServerKey:
    """The key that wraps all client keys; it never leaves the server. Raises KeyFileError if not of 128 octets."""

    octets: bytes = field(repr=False)
    wrapping: SyntheticIv = field(init=False, repr=False, compare=False)
    """What wraps and unwraps client keys."""

    def __post_init__(self) -> None:
        if len(self.octets) != _SERVER_KEY_SIZE:
            raise KeyFileError(f"a tls-crypt-v2 server key has {_SERVER_KEY_SIZE} octets, not {len(self.octets)}")
        object.__setattr__(self, "wrapping", SyntheticIv(self.octets[:32], self.octets[64:96]))


@dataclass(frozen=True, slots=True)
class ClientKey:
    """What a client of tls-crypt-v2 holds: its own key, and the same wrapped, which only the server can open."""

    key: StaticKey
    wkc: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the server once wrote into a wrapped key, to find it again."""

    USER = 0
    """The type of data that the administrator chose."""
    TIMESTAMP = 1
    """The type of the time of creation: OpenVPN's default."""

    kind: int
    """`USER`, `TIMESTAMP`, or a number that nobody has defined."""
    value: bytes

    @classmethod
    def created_at(cls, unix_time: float) -> Metadata:
        """Make the metadata that OpenVPN writes by default."""
        return cls(cls.TIMESTAMP, int(unix_time).to_bytes(_TIMESTAMP_SIZE, "big"))

    @property
    def timestamp(self) -> int | None:
        """The Unix time of creation; None where the metadata says something else."""
        if self.kind != self.TIMESTAMP or len(self.value) != _TIMESTAMP_SIZE:
            return None
        return int.from_bytes(self.value, "big")


def generate_server_key(random_bytes: Callable[[int], bytes] = os.urandom) -> ServerKey:
    """Make a new server key."""
    return ServerKey(random_bytes(_SERVER_KEY_SIZE))


def generate_client_key(
    server_key: ServerKey, metadata: Metadata | None, random_bytes: Callable[[int], bytes] = os.urandom
) -> ClientKey:
    """Make a new client key. Raises KeyFileError for metadata that is too long."""
    key = generate_static_key(random_bytes)
    return ClientKey(key, wrap_client_key(server_key, key, metadata))


def wrap_client_key(server_key: ServerKey, key: StaticKey, metadata: Metadata | None) -> bytes:
    """Build the WKc of a client key. Raises KeyFileError for metadata that is too long."""
    tail = b"" if metadata is None else bytes((metadata.kind,)) + metadata.value
    if len(tail) > MAX_METADATA_SIZE:
        raise KeyFileError(f"the metadata of a client key may have {MAX_METADATA_SIZE - 1} octets at most")
    length = (MIN_WKC_SIZE + len(tail)).to_bytes(_LENGTH_SIZE, "big")
    secret = key.octets + tail
    tag = server_key.wrapping.tag(length, secret)
    return tag + server_key.wrapping.crypt(tag, secret) + length


def unwrap_client_key_untrusted(server_key: ServerKey, wkc: bytes) -> tuple[StaticKey, Metadata | None]:
    """Open a WKc. Raises BadPacket if its length is wrong or this server key did not wrap it."""
    length = wkc[-_LENGTH_SIZE:]
    if not MIN_WKC_SIZE <= len(wkc) <= MAX_WKC_SIZE or int.from_bytes(length, "big") != len(wkc):
        raise BadPacket("the length of the wrapped client key is wrong")
    secret = server_key.wrapping.open_untrusted(length, wkc[:_TAG_SIZE], wkc[_TAG_SIZE:-_LENGTH_SIZE])
    if secret is None:
        raise BadPacket("the wrapped client key is not of this server")
    tail = secret[KEY_BLOCK_SIZE:]
    return StaticKey(secret[:KEY_BLOCK_SIZE]), Metadata(tail[0], tail[1:]) if tail else None


def split_wkc_untrusted(packet: bytes) -> tuple[bytes, bytes]:
    """Split a packet of opcode 10 or 11 into the tls-crypt packet and the WKc behind it.

    Raises BadPacket, before any cryptography, where the length at the end cannot be true.
    """
    length = int.from_bytes(packet[-_LENGTH_SIZE:], "big")
    if not MIN_WKC_SIZE <= length <= min(MAX_WKC_SIZE, len(packet) - _MIN_PACKET_SIZE):
        raise BadPacket("the length of the wrapped client key is wrong")
    return packet[:-length], packet[-length:]


def parse_server_key(text: str) -> ServerKey:
    """Parse a server key file. Raises KeyFileError."""
    return ServerKey(_parse_pem(text, _SERVER_LABEL))


def build_server_key(key: ServerKey) -> str:
    """Build the text of a server key file."""
    return _build_pem(key.octets, _SERVER_LABEL)


def parse_client_key(text: str) -> ClientKey:
    """Parse a client key file, or the inline block of a profile. Raises KeyFileError."""
    octets = _parse_pem(text, _CLIENT_LABEL)
    wkc = octets[KEY_BLOCK_SIZE:]
    if not MIN_WKC_SIZE <= len(wkc) <= MAX_WKC_SIZE:
        raise KeyFileError(f"a wrapped client key has {MIN_WKC_SIZE} to {MAX_WKC_SIZE} octets, not {len(wkc)}")
    return ClientKey(StaticKey(octets[:KEY_BLOCK_SIZE]), wkc)


def build_client_key(key: ClientKey) -> str:
    """Build the text of a client key file."""
    return _build_pem(key.key.octets + key.wkc, _CLIENT_LABEL)


def _parse_pem(text: str, label: str) -> bytes:
    match = re.search(f"-----BEGIN {label}-----(.*?)-----END {label}-----", text, re.DOTALL)
    if match is None:
        raise KeyFileError(f"no {label}: the file needs a block that begins with '-----BEGIN {label}-----'")
    try:
        return base64.b64decode("".join(match[1].split()), validate=True)
    except ValueError:
        raise KeyFileError(f"the {label} is not base64") from None


def _build_pem(octets: bytes, label: str) -> str:
    encoded = base64.b64encode(octets).decode()
    lines = (encoded[i : i + _BASE64_LINE] for i in range(0, len(encoded), _BASE64_LINE))
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))
