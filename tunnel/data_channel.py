"""Data packets: sealing and opening under one key, packet ids, the replay window, and the wear of keys.

Owns everything between an inner payload and a data packet of the wire. Knows no peers, no addresses, no sockets:
whoever holds the key says which packets come to it.

Layouts (OpenVPN `crypto.c`), where `head` is `opcode | key id` and for DATA_V2 the peer id:

    AEAD   head | packet id 4 | tag 16 | ciphertext     nonce: packet id | 8 octets of the HMAC half
                                                        authenticated besides: packet id, in DATA_V2 the head as well
    CBC    head | HMAC | IV 16 | ciphertext of (packet id 4 | payload | PKCS#7)     HMAC over IV and ciphertext

Failures that bytes from the network cause are `BadPacket`s:

    BadPacket
    ├── NotAuthentic    truncated, or the tag or HMAC is wrong
    └── Replayed        the packet id was seen before, is 0, or is older than the replay window
"""

from __future__ import annotations

import abc
import hmac
import os
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from tunnel.data_keys import Cipher
from tunnel.errors import BadPacket, LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunnel.data_keys import DataKey, KeyHalf

__all__ = [
    "AEAD_OVERHEAD",
    "REPLAY_WINDOW",
    "KeyUsedUp",
    "NotAuthentic",
    "OpeningKey",
    "ReplayWindow",
    "Replayed",
    "SealingKey",
    "WearLimits",
    "opening_key",
    "sealing_key",
]

AEAD_OVERHEAD: Final = 24
"""Octets that DATA_V2 with an AEAD cipher adds to a payload."""

REPLAY_WINDOW: Final = 2048
"""Packet ids that may arrive late. OpenVPN's 64 is too few behind multi-queue adapters; this costs 8 KB per key."""

_LAST_PACKET_ID: Final = 0xFFFF_FFFF
_PACKET_ID_TRIGGER: Final = 0xFF00_0000
"""Renegotiate from here on (OpenVPN `PACKET_ID_WRAP_TRIGGER`): 16 million packets are left to do it in."""
_GCM_TRIGGER: Final = ((1 << 36) - 1) // 8 * 7
"""Blocks plus packets of one AES-GCM key at which OpenVPN 2.7 renegotiates: 7/8 of `cipher_get_aead_limits`."""
_MOST_FAILURES: Final = 1 << 36
"""Forgeries after which a key must not be used any longer (OpenVPN `CRYPTO_MAX_FAILED_VERIFICATIONS`)."""

_DATA_V1: Final = 6 << 3
_DATA_V2: Final = 9 << 3
_TAG_SIZE: Final = 16
_BLOCK_SIZE: Final = 16
_DIGESTS: Final = {"SHA1": 20, "SHA256": 32, "SHA512": 64}


class NotAuthentic(BadPacket):
    """The packet is truncated, or was not sealed with this key."""


class Replayed(BadPacket):
    """The packet is authentic, but its packet id was seen before, is 0, or is older than the replay window."""


class KeyUsedUp(LocalError):  # noqa: N818 - a state, not a mistake
    """All packet ids of a sealing key are spent: one more would repeat a nonce. Only a new key helps."""


@dataclass(frozen=True, slots=True)
class WearLimits:
    """When a key is worn, so that its owner should renegotiate: the configured limits; the cipher's own always hold."""

    octets: int = 0
    """Payload octets (OpenVPN `reneg-bytes`); 0 means no limit but the cipher's."""
    packets: int = 0
    """Packets (OpenVPN `reneg-pkts`); 0 means no limit but the cipher's."""

    def reached(self, cipher: Cipher, packets: int, octets: int) -> bool:
        """Whether a key of this cipher that carried so much is worn."""
        if packets >= _PACKET_ID_TRIGGER or 0 < self.packets <= packets or 0 < self.octets <= octets:
            return True
        # Each packet rounds up by less than one block, so this is never less than OpenVPN's count.
        gcm = cipher in (Cipher.AES_256_GCM, Cipher.AES_128_GCM)
        return gcm and octets // _BLOCK_SIZE + 2 * packets >= _GCM_TRIGGER


class ReplayWindow:
    """Which packet ids may still come, in 4 octets per id of the window and without any shifting.

    Slot `id mod window` holds the greatest id accepted there. An accepted id can only be overwritten by a greater
    one, so an id that is not greater than its slot is a repetition or too old. The greatest id of all bounds the rest.
    """

    __slots__ = ("_greatest", "_slots")

    def __init__(self) -> None:
        self._slots = array("I", bytes(4 * REPLAY_WINDOW))
        self._greatest = 0

    def accept(self, packet_id: int) -> bool:
        """Take an authentic packet's id; False when it must be dropped."""
        slots, slot = self._slots, packet_id % REPLAY_WINDOW
        if packet_id <= slots[slot] or packet_id <= self._greatest - REPLAY_WINDOW:
            return False
        slots[slot] = packet_id
        if packet_id > self._greatest:  # noqa: PLR1730 - max() costs three times as much, once per packet
            self._greatest = packet_id
        return True

    @property
    def greatest(self) -> int:
        """The greatest id accepted so far; 0 before the first."""
        return self._greatest

    def export(self) -> bytes:
        """Which ids of the window may not come any more, a bit each, the greatest first (`tunnel.plane.KeyState`)."""
        slots, last = self._slots, self._greatest
        ids = range(last, last - REPLAY_WINDOW, -1)
        bits = "".join("1" if packet_id <= slots[packet_id % REPLAY_WINDOW] else "0" for packet_id in ids)
        return int(bits, 2).to_bytes(REPLAY_WINDOW // 8, "big")

    def resume(self, greatest: int, opened: bytes) -> None:
        """Go on where another window stood; what its bits leave open counts as accepted."""
        self._greatest = greatest
        for age in range(min(REPLAY_WINDOW, greatest)):
            octet, bit = divmod(age, 8)
            if octet >= len(opened) or opened[octet] << bit & 0x80:
                self._slots[(greatest - age) % REPLAY_WINDOW] = greatest - age


class SealingKey(abc.ABC):
    """One direction's key for sending. Packet ids count from 1 and never repeat."""

    __slots__ = ("_head", "cipher", "key_id", "octets", "packets")

    def __init__(self, key: DataKey, peer_id: int | None) -> None:
        self.key_id = key.key_id
        self.cipher = key.cipher
        self.packets = 0
        """Packets sealed so far, which is also the last packet id."""
        self.octets = 0
        """Payload octets sealed so far."""
        self._head = _build_head(key.key_id, peer_id)

    @abc.abstractmethod
    def seal(self, payload: bytes) -> bytes:
        """A whole data packet around a payload of at least one octet. Raises `KeyUsedUp` when no packet id is left."""

    def is_worn(self, limits: WearLimits) -> bool:
        """Whether it is time for a new key; look once in a while, not per packet."""
        return limits.reached(self.cipher, self.packets, self.octets)

    def resume(self, packets: int, octets: int) -> None:
        """Go on where another process stood with this key: its last packet id is never used again."""
        self.packets = packets
        self.octets = octets


class OpeningKey(abc.ABC):
    """One direction's key for receiving, with its replay window."""

    __slots__ = ("_accept", "_failures", "_window", "cipher", "key_id", "octets")

    def __init__(self, key: DataKey) -> None:
        self.key_id = key.key_id
        self.cipher = key.cipher
        self.octets = 0
        """Payload octets opened so far."""
        self._failures = 0
        self._window = ReplayWindow()
        self._accept = self._window.accept

    @abc.abstractmethod
    def open_untrusted(self, packet: bytes) -> bytes:
        """The payload of a whole data packet, DATA_V1 or DATA_V2. Raises `NotAuthentic` or `Replayed`."""

    @property
    def packets(self) -> int:
        """At most so many packets were sealed under this key by the other side, as far as is known here."""
        return self._window.greatest

    @property
    def failures(self) -> int:
        """Packets so far that were not authentic."""
        return self._failures

    def is_worn(self, limits: WearLimits) -> bool:
        """Whether it is time for a new key; look once in a while, not per packet."""
        return limits.reached(self.cipher, self.packets, self.octets)

    def export_window(self) -> bytes:
        """`ReplayWindow.export`."""
        return self._window.export()

    def resume(self, greatest: int, opened: bytes, octets: int, failures: int) -> None:
        """Go on where another process stood with this key."""
        self._window.resume(greatest, opened)
        self.octets = octets
        self._failures = failures

    def _failed(self) -> NotAuthentic:
        self._failures += 1
        return NotAuthentic("a data packet is truncated or was not sealed with this key")


def sealing_key(key: DataKey, *, peer_id: int | None, random_bytes: Callable[[int], bytes] = os.urandom) -> SealingKey:
    """The sending half of a data key: DATA_V2 with `peer_id`, DATA_V1 where that is None."""
    if key.cipher.is_aead:
        return _AeadSealingKey(key, peer_id)
    return _CbcSealingKey(key, peer_id, random_bytes)


def opening_key(key: DataKey) -> OpeningKey:
    """The receiving half of a data key."""
    return _AeadOpeningKey(key) if key.cipher.is_aead else _CbcOpeningKey(key)


def _build_head(key_id: int, peer_id: int | None) -> bytes:
    if peer_id is None:
        return bytes([_DATA_V1 | key_id])
    return bytes([_DATA_V2 | key_id]) + peer_id.to_bytes(3, "big")


def _head_size(packet: bytes) -> int:
    return 4 if packet[:1] >= b"\x48" else 1


def _aead(cipher: Cipher, half: KeyHalf) -> AESGCM | ChaCha20Poly1305:
    key = half.cipher[: cipher.key_size]
    return ChaCha20Poly1305(key) if cipher is Cipher.CHACHA20_POLY1305 else AESGCM(key)


class _AeadSealingKey(SealingKey):
    """AES-GCM and ChaCha20-Poly1305.

    The AEAD puts the tag last, OpenVPN first. A concatenation of slices moves it, which measures faster than
    encrypting into an arena and moving it there (0.87 against 1.0 µs for 1400 octets).
    """

    __slots__ = ("_authenticates_head", "_encrypt", "_nonce_tail")

    def __init__(self, key: DataKey, peer_id: int | None) -> None:
        super().__init__(key, peer_id)
        self._encrypt = _aead(key.cipher, key.send).encrypt
        self._nonce_tail = key.send.hmac[:8]
        self._authenticates_head = peer_id is not None

    def seal(self, payload: bytes) -> bytes:
        number = self.packets + 1
        if number > _LAST_PACKET_ID:
            raise KeyUsedUp("every packet id of this key is spent; renegotiate to get a new key")
        self.packets = number
        self.octets += len(payload)
        packet_id = number.to_bytes(4, "big")
        header = self._head + packet_id
        sealed = self._encrypt(packet_id + self._nonce_tail, payload, header if self._authenticates_head else packet_id)
        return header + sealed[-_TAG_SIZE:] + sealed[:-_TAG_SIZE]


class _AeadOpeningKey(OpeningKey):
    __slots__ = ("_decrypt", "_nonce_tail")

    def __init__(self, key: DataKey) -> None:
        super().__init__(key)
        self._decrypt = _aead(key.cipher, key.receive).decrypt
        self._nonce_tail = key.receive.hmac[:8]

    def open_untrusted(self, packet: bytes) -> bytes:
        # Offsets are written out for each header: slices with constant bounds are what makes this fast.
        if packet[:1] >= b"\x48":
            packet_id, authenticated, sealed = packet[4:8], packet[:8], packet[24:] + packet[8:24]
        else:
            packet_id = authenticated = packet[1:5]
            sealed = packet[21:] + packet[5:21]
        if len(sealed) <= _TAG_SIZE or self._failures >= _MOST_FAILURES:
            raise self._failed()
        try:
            payload = self._decrypt(packet_id + self._nonce_tail, sealed, authenticated)
        except InvalidTag:
            raise self._failed() from None
        if not self._accept(int.from_bytes(packet_id, "big")):
            raise Replayed("a data packet was seen before, or is older than the replay window")
        self.octets += len(payload)
        return payload


class _CbcSealingKey(SealingKey):
    __slots__ = ("_algorithm", "_digest", "_hmac_key", "_random_bytes")

    def __init__(self, key: DataKey, peer_id: int | None, random_bytes: Callable[[int], bytes]) -> None:
        super().__init__(key, peer_id)
        self._algorithm = AES(key.send.cipher[: key.cipher.key_size])
        self._digest, self._hmac_key = _digest_and_key(key.auth, key.send)
        self._random_bytes = random_bytes

    def seal(self, payload: bytes) -> bytes:
        if self.packets >= _LAST_PACKET_ID:
            raise KeyUsedUp("every packet id of this key is spent; renegotiate to get a new key")
        self.packets += 1
        self.octets += len(payload)
        padder = PKCS7(_BLOCK_SIZE * 8).padder()
        padded = padder.update(self.packets.to_bytes(4, "big") + payload) + padder.finalize()
        iv = self._random_bytes(_BLOCK_SIZE)
        encryptor = BlockCipher(self._algorithm, CBC(iv)).encryptor()
        sealed = iv + encryptor.update(padded) + encryptor.finalize()
        return self._head + hmac.digest(self._hmac_key, sealed, self._digest) + sealed


class _CbcOpeningKey(OpeningKey):
    __slots__ = ("_algorithm", "_digest", "_hmac_key")

    def __init__(self, key: DataKey) -> None:
        super().__init__(key)
        self._algorithm = AES(key.receive.cipher[: key.cipher.key_size])
        self._digest, self._hmac_key = _digest_and_key(key.auth, key.receive)

    def open_untrusted(self, packet: bytes) -> bytes:
        plain = self._decrypt_untrusted(packet)
        # Shorter than a packet id and one octet: sealed by the right key, but no data packet.
        if len(plain) <= 4:
            raise self._failed()
        if not self._accept(int.from_bytes(plain[:4], "big")):
            raise Replayed("a data packet was seen before, or is older than the replay window")
        self.octets += len(plain) - 4
        return plain[4:]

    def _decrypt_untrusted(self, packet: bytes) -> bytes:
        """The packet id and payload. The HMAC comes first, so that padding says nothing to a forger."""
        tag_at = _head_size(packet)
        iv_at = tag_at + len(self._hmac_key)
        text_at = iv_at + _BLOCK_SIZE
        text_size = len(packet) - text_at
        if text_size < _BLOCK_SIZE or text_size % _BLOCK_SIZE or self._failures >= _MOST_FAILURES:
            raise self._failed()
        if not hmac.compare_digest(packet[tag_at:iv_at], hmac.digest(self._hmac_key, packet[iv_at:], self._digest)):
            raise self._failed()
        decryptor = BlockCipher(self._algorithm, CBC(packet[iv_at:text_at])).decryptor()
        padded = decryptor.update(packet[text_at:]) + decryptor.finalize()
        unpadder = PKCS7(_BLOCK_SIZE * 8).unpadder()
        try:
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            raise self._failed() from None


def _digest_and_key(auth: str, half: KeyHalf) -> tuple[str, bytes]:
    """The digest by hashlib's name, and as much of the HMAC half as it uses."""
    try:
        return auth.lower(), half.hmac[: _DIGESTS[auth]]
    except KeyError:
        raise LocalError(f"unknown HMAC digest {auth!r}; the CBC ciphers take {', '.join(_DIGESTS)}") from None
