"""Key method 2: the block that each side sends first inside TLS (OpenVPN `key_method_2_write` and `_read`).

    u32 0 | u8 2 | pre_master 48 (client only) | random1 32 | random2 32
    | u16 len, options | u16 len, username | u16 len, password | u16 len, peer info

Each string's length counts a terminating NUL; an absent string has length 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tunnel.errors import HandshakeError
from tunnel.events import CloseReason
from tunnel.key_derivation import derive_master_and_key_block

__all__ = [
    "MAX_BLOCK_SIZE",
    "KeyMethod2",
    "KeySource",
    "build_key_method",
    "derive_by_prf",
    "parse_key_method_untrusted",
]

MAX_BLOCK_SIZE = 65536
"""No client sends more than a few KB; beyond this a peer that never finishes its block is refused."""

_PREFIX = b"\x00\x00\x00\x00\x02"
_PRE_MASTER_SIZE = 48
_RANDOM_SIZE = 32


@dataclass(frozen=True, slots=True)
class KeySource:
    """One side's contribution to the keys; the server has no pre-master secret."""

    random1: bytes = field(repr=False)
    random2: bytes = field(repr=False)
    pre_master: bytes = field(default=b"", repr=False)

    @classmethod
    def generate(cls, octets: bytes) -> KeySource:
        """From 64 (server) or 112 (client) random octets."""
        randoms, pre_master = octets[: 2 * _RANDOM_SIZE], octets[2 * _RANDOM_SIZE :]
        return cls(randoms[:_RANDOM_SIZE], randoms[_RANDOM_SIZE:], pre_master)


@dataclass(frozen=True, slots=True)
class KeyMethod2:
    """One side's block."""

    source: KeySource
    options: str
    """The options string ("OCC"): how this side is configured, for comparison."""
    username: str = ""
    password: str = field(default="", repr=False)
    peer_info: str = ""


def build_key_method(block: KeyMethod2) -> bytes:
    """The block as octets; the server's has no pre-master secret."""
    source = block.source
    strings = (block.options, block.username, block.password, block.peer_info)
    return b"".join(
        (_PREFIX, source.pre_master, source.random1, source.random2, *(_build_string(text) for text in strings))
    )


def _build_string(text: str) -> bytes:
    if not text:
        return b"\x00\x00"
    encoded = text.encode() + b"\x00"
    return struct.pack(">H", len(encoded)) + encoded


def parse_key_method_untrusted(buffer: bytes, *, from_client: bool) -> tuple[KeyMethod2, int] | None:
    """The block at the beginning of `buffer` and its size; None when more octets are needed.

    Strings after the options may be missing altogether: clients accept that of servers, and old clients send no
    peer info. Raises `HandshakeError` for a block that can never become right.
    """
    if buffer[: len(_PREFIX)] != _PREFIX[: len(buffer)]:
        raise _protocol_error("The key exchange does not begin with key method 2.")
    if len(buffer) > MAX_BLOCK_SIZE:
        raise _protocol_error(f"The key exchange is larger than {MAX_BLOCK_SIZE} octets.")
    position = len(_PREFIX)
    pre_master_size = _PRE_MASTER_SIZE if from_client else 0
    strings_at = position + pre_master_size + 2 * _RANDOM_SIZE
    texts, end = _parse_strings_untrusted(buffer, strings_at)
    required = 3 if from_client else 1
    if len(texts) < required or (len(texts) < 4 and end != len(buffer)):
        return None
    options, username, password, peer_info = (*texts, "", "", "")[:4]
    randoms = buffer[position + pre_master_size : strings_at]
    source = KeySource.generate(randoms + buffer[position : position + pre_master_size])
    return KeyMethod2(source, options, username, password, peer_info), end


def _parse_strings_untrusted(buffer: bytes, position: int) -> tuple[list[str], int]:
    """Up to four whole strings from `position` on, and where they end."""
    texts: list[str] = []
    while len(texts) < 4 and position + 2 <= len(buffer):
        (size,) = struct.unpack_from(">H", buffer, position)
        if position + 2 + size > len(buffer):
            break
        texts.append(_decode_untrusted(buffer[position + 2 : position + 2 + size]))
        position += 2 + size
    return texts, position


def _decode_untrusted(octets: bytes) -> str:
    text = octets.removesuffix(b"\x00")
    if b"\x00" in text:
        raise _protocol_error("A string of the key exchange contains a NUL.")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise _protocol_error("A string of the key exchange is not UTF-8.") from error


def derive_by_prf(client: KeySource, server: KeySource, client_session_id: bytes, server_session_id: bytes) -> bytes:
    """The key block of 256 octets from both sides' contributions, for clients without the TLS exporter."""
    return derive_master_and_key_block(
        pre_master=client.pre_master,
        client_random1=client.random1,
        server_random1=server.random1,
        client_random2=client.random2,
        server_random2=server.random2,
        client_session_id=client_session_id,
        server_session_id=server_session_id,
    )


def _protocol_error(text: str) -> HandshakeError:
    return HandshakeError(CloseReason.PROTOCOL_ERROR, text)
