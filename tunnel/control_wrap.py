"""The protection of control packets: none, tls-auth, tls-crypt.

tls-crypt-v2 builds on it in `tunnel.tls_crypt_v2`. Owns how a control packet is signed, encrypted and counted.
Must not know sessions or what packets mean.

A `WrapKey` is one for all connections that use the same key: no packet leaves anything behind in it. What changes
with every packet, the send counter and the replay window, is a `ControlWrap`, one per connection and wrapper key.

    plain       header | body
    tls-auth    header | HMAC | packet id, time | body            HMAC over packet id, time | header | body
    tls-crypt   header | packet id, time | tag | AES-CTR(body)    tag = HMAC over header | packet id, time | body
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import struct
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from tunnel.errors import BadPacket, LocalError
from tunnel.replay_window import ReplayId, ReplayWindow
from tunnel.static_key import KeyDirection, StaticKey
from tunnel.wire import (
    HEADER_SIZE,
    ControlPacket,
    build_control_body,
    build_control_header,
    parse_control_untrusted,
)

if TYPE_CHECKING:
    from tunnel.data_keys import KeyHalf

__all__ = [
    "TLS_CRYPT_OVERHEAD",
    "ControlWrap",
    "PlainWrap",
    "SyntheticIv",
    "TlsAuthWrap",
    "TlsCryptWrap",
    "WrapKey",
]

_REPLAY_FIELD = struct.Struct("!II")
_TAG_SIZE = 32
_CIPHER_KEY_SIZE = 32
_HMAC_KEY_SIZE = 32
_IV_SIZE = 16
_LAST_PACKET_ID = 0xFFFFFFFF
_KEYED_CONTEXTS = 512
"""Of the keys used last, 1 MB: as many as clients that shake hands at once have, two each."""

TLS_CRYPT_OVERHEAD = _REPLAY_FIELD.size + _TAG_SIZE
"""Octets that tls-crypt adds to a packet."""
_TLS_CRYPT_TAG_START = HEADER_SIZE + _REPLAY_FIELD.size
_TLS_CRYPT_BODY_START = _TLS_CRYPT_TAG_START + _TAG_SIZE


class WrapKey(Protocol):
    """One way to protect control packets, with its keys; shared between connections."""

    @property
    def overhead(self) -> int:
        """Octets that the protection adds to a packet."""

    def seal(self, packet: ControlPacket, replay_id: ReplayId) -> bytes:
        """Protect a packet."""

    def open_untrusted(self, data: bytes) -> tuple[ControlPacket, ReplayId | None]:
        """Verify and parse a packet; None where the protection counts nothing.

        Raises BadPacket if it is not authentic or malformed. The replay id is not judged here.
        """


class PlainWrap:
    """No protection at all."""

    __slots__ = ()

    overhead = 0

    def seal(self, packet: ControlPacket, replay_id: ReplayId) -> bytes:  # noqa: ARG002 - nothing to count
        """Build the packet."""
        return build_control_header(packet) + build_control_body(packet)

    def open_untrusted(self, data: bytes) -> tuple[ControlPacket, None]:
        """Parse the packet. Raises BadPacket."""
        return parse_control_untrusted(data[:HEADER_SIZE], data[HEADER_SIZE:]), None


class TlsAuthWrap:
    """tls-auth: an HMAC over everything, and a replay field; nothing is encrypted."""

    __slots__ = ("_digest", "_digest_size", "_receive_key", "_send_key", "overhead")

    def __init__(self, key: StaticKey, direction: KeyDirection, digest: str = "SHA1") -> None:
        """`digest` is OpenVPN's name, as in `auth`. Raises LocalError for one that is unknown or too long."""
        self._digest = digest.lower().replace("-", "")
        try:
            self._digest_size = hashlib.new(self._digest, usedforsecurity=False).digest_size
        except ValueError:
            raise LocalError(f"tls-auth: no digest {digest!r}; use SHA1, SHA256 or SHA512") from None
        if not 0 < self._digest_size <= 64:
            raise LocalError(f"tls-auth: the digest {digest!r} does not fit a static key; use SHA1, SHA256 or SHA512")
        self._send_key = key.half(direction.send_index).hmac[: self._digest_size]
        self._receive_key = key.half(direction.receive_index).hmac[: self._digest_size]
        self.overhead = self._digest_size + _REPLAY_FIELD.size

    def seal(self, packet: ControlPacket, replay_id: ReplayId) -> bytes:
        """Sign a packet."""
        header, body = build_control_header(packet), build_control_body(packet)
        replay = _REPLAY_FIELD.pack(replay_id.packet_id, replay_id.time)
        signature = hmac.digest(self._send_key, replay + header + body, self._digest)
        return header + signature + replay + body

    def open_untrusted(self, data: bytes) -> tuple[ControlPacket, ReplayId]:
        """Verify the HMAC, then parse. Raises BadPacket."""
        replay_start = HEADER_SIZE + self._digest_size
        body_start = replay_start + _REPLAY_FIELD.size
        if len(data) <= body_start:
            raise BadPacket("too short for tls-auth")
        header, replay, body = data[:HEADER_SIZE], data[replay_start:body_start], data[body_start:]
        expected = hmac.digest(self._receive_key, replay + header + body, self._digest)
        if not hmac.compare_digest(expected, data[HEADER_SIZE:replay_start]):
            raise BadPacket("the tls-auth HMAC is wrong")
        packet_id, time = _REPLAY_FIELD.unpack(replay)
        return parse_control_untrusted(header, body), ReplayId(time, packet_id)


class SyntheticIv:
    """AES-256-CTR whose IV is the first half of an HMAC-SHA256 over the plaintext: what tls-crypt is made of (SIV).

    OpenSSL's contexts are keyed once and used again, by one thread: setting them up costs several times what a packet
    does. They are 2 KB, so who keeps keys of many clients takes them by `keyed`.
    """

    __slots__ = ("_ctr", "_hmac")

    def __init__(self, cipher_key: bytes, hmac_key: bytes) -> None:
        """Take two keys of 32 octets."""
        self._ctr = Cipher(AES(cipher_key), CTR(bytes(_IV_SIZE))).encryptor()
        self._hmac = HMAC(hmac_key, SHA256())

    @staticmethod
    @functools.lru_cache(maxsize=_KEYED_CONTEXTS)
    def keyed(cipher_key: bytes, hmac_key: bytes) -> SyntheticIv:
        """Return the contexts of these keys: those of before, if they were in use lately."""
        return SyntheticIv(cipher_key, hmac_key)

    def tag(self, clear: bytes, secret: bytes) -> bytes:
        """Return the HMAC over what goes in the clear and what is to be encrypted."""
        mac = self._hmac.copy()
        mac.update(clear + secret)
        return mac.finalize()

    def crypt(self, tag: bytes, data: bytes) -> bytes:
        """Encrypt what `tag` was made of, or decrypt what came with it."""
        self._ctr.reset_nonce(tag[:_IV_SIZE])
        return self._ctr.update(data)

    def open_untrusted(self, clear: bytes, tag: bytes, data: bytes) -> bytes | None:
        """Decrypt; None where the tag is not of this key and these octets."""
        secret = self.crypt(tag, data)
        return secret if hmac.compare_digest(self.tag(clear, secret), tag) else None


class TlsCryptWrap:
    """tls-crypt: HMAC-SHA256 and AES-256-CTR with the tag as IV, and a replay field."""

    __slots__ = ("_receive_keys", "_send_keys")

    overhead = TLS_CRYPT_OVERHEAD

    def __init__(self, key: StaticKey, *, server: bool) -> None:
        """The directions are fixed: the server sends with the key's first half."""
        direction = KeyDirection.NORMAL if server else KeyDirection.INVERSE
        self._send_keys = _tls_crypt_keys(key.half(direction.send_index))
        self._receive_keys = _tls_crypt_keys(key.half(direction.receive_index))

    def seal(self, packet: ControlPacket, replay_id: ReplayId) -> bytes:
        """Sign and encrypt a packet."""
        clear = build_control_header(packet) + _REPLAY_FIELD.pack(replay_id.packet_id, replay_id.time)
        body = build_control_body(packet)
        siv = SyntheticIv.keyed(*self._send_keys)
        tag = siv.tag(clear, body)
        return clear + tag + siv.crypt(tag, body)

    def open_untrusted(self, data: bytes) -> tuple[ControlPacket, ReplayId]:
        """Decrypt, verify the tag, then parse. Raises BadPacket."""
        if len(data) <= _TLS_CRYPT_BODY_START:
            raise BadPacket("too short for tls-crypt")
        clear, tag = data[:_TLS_CRYPT_TAG_START], data[_TLS_CRYPT_TAG_START:_TLS_CRYPT_BODY_START]
        body = SyntheticIv.keyed(*self._receive_keys).open_untrusted(clear, tag, data[_TLS_CRYPT_BODY_START:])
        if body is None:
            raise BadPacket("the tls-crypt tag is wrong")
        packet_id, time = _REPLAY_FIELD.unpack_from(clear, HEADER_SIZE)
        return parse_control_untrusted(clear[:HEADER_SIZE], body), ReplayId(time, packet_id)


def _tls_crypt_keys(half: KeyHalf) -> tuple[bytes, bytes]:
    """Give what tls-crypt uses of one direction of a static key."""
    return half.cipher[:_CIPHER_KEY_SIZE], half.hmac[:_HMAC_KEY_SIZE]


class ControlWrap:
    """A wrapper key as one connection uses it: with a send counter and a replay window."""

    __slots__ = ("_key", "_next_packet_id", "_time", "_window")

    def __init__(self, key: WrapKey, *, next_replay_id: int = 1, replay_time: int | None = None) -> None:
        """Count from `next_replay_id`, with the time field `replay_time` (None: that of the first packet)."""
        self._key = key
        self._next_packet_id = next_replay_id
        self._time = replay_time
        self._window = ReplayWindow()

    @property
    def overhead(self) -> int:
        """Octets that the protection adds to a packet."""
        return self._key.overhead

    def wrap(self, packet: ControlPacket, unix_time: float) -> bytes:
        """Protect a packet under the next replay id: without gaps, as old peers demand it over TCP."""
        return self._key.seal(packet, self._take_replay_id(unix_time))

    def unwrap_untrusted(self, data: bytes) -> ControlPacket:
        """Verify, parse and refuse replays. Raises BadPacket."""
        packet, replay_id = self._key.open_untrusted(data)
        if not self.accept(replay_id):
            raise BadPacket("a control packet was replayed")
        return packet

    def accept(self, replay_id: ReplayId | None) -> bool:
        """Record the replay id of an authentic packet that was opened elsewhere; False if it is a replay."""
        return replay_id is None or self._window.accept(replay_id)

    def _take_replay_id(self, unix_time: float) -> ReplayId:
        if self._time is None:
            self._time = int(unix_time)
        elif self._next_packet_id > _LAST_PACKET_ID:
            # The count starts over under a later time, or the peer would take it all for replays.
            self._time = max(int(unix_time), self._time + 1)
            self._next_packet_id = 1
        replay_id = ReplayId(self._time, self._next_packet_id)
        self._next_packet_id += 1
        return replay_id
