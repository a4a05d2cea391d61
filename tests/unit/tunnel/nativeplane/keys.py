"""`data_key.h` for tests: its structures, and a key that is used like those of `tunnel.data_channel`."""

from __future__ import annotations

import ctypes
import errno
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.unit.tunnel.nativeplane.library import Buffer, Span, load
from tunnel.data_channel import NotAuthentic, Replayed
from tunnel.data_keys import Cipher, DataKey, split_key_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunnel.data_channel import WearLimits
    from tunnel.data_keys import KeyHalf

SOURCES: Final = ("data_key.c", "aead.c", "aead_libcrypto.c", "aead_ipsec_mb.c", "cbc.c", "hmac.c", "replay.c")
"""What a library needs that uses keys."""
BACK_ENDS: Final = {"intel-ipsec-mb": (), "libcrypto": ("-DWITHOUT_IPSEC_MB",)}
"""What can do the AEADs, and what that is compiled with."""
back_end: str = ""
"""The one that keys are made with; empty for the one that a plane would choose. Set by the fixture `each_back_end`."""
REPLAY_WINDOW: Final = 8192
CIPHERS: Final = tuple(Cipher)
DIGESTS: Final = ("SHA1", "SHA256", "SHA512")
LAST_PACKET_ID: Final = 0xFFFF_FFFF
_REPLAYED: Final = 2
_KEY_BLOCK: Final = bytes(range(256))


class KeyHalfStruct(ctypes.Structure):
    """`struct key_half`."""

    _fields_ = (("cipher", ctypes.c_uint8 * 64), ("hmac", ctypes.c_uint8 * 64))

    @classmethod
    def of(cls, half: KeyHalf) -> KeyHalfStruct:
        return cls((ctypes.c_uint8 * 64)(*half.cipher), (ctypes.c_uint8 * 64)(*half.hmac))


class KeyProgress(ctypes.Structure):
    """`struct key_progress`."""

    _fields_ = (
        ("sealed_packets", ctypes.c_uint64),
        ("sealed_octets", ctypes.c_uint64),
        ("opened_octets", ctypes.c_uint64),
        ("failures", ctypes.c_uint64),
        ("greatest_opened", ctypes.c_uint32),
        ("window", ctypes.c_uint64 * (REPLAY_WINDOW // 64)),
    )
    sealed_packets: int
    sealed_octets: int
    opened_octets: int
    failures: int
    greatest_opened: int


class KeySettings(ctypes.Structure):
    """`struct key_settings`."""

    _fields_ = (
        ("cipher", ctypes.c_uint),
        ("auth", ctypes.c_uint),
        ("key_id", ctypes.c_uint8),
        ("data_v2", ctypes.c_bool),
        ("peer_id", ctypes.c_uint32),
        ("workers", ctypes.c_uint),
        ("send", KeyHalfStruct),
        ("receive", KeyHalfStruct),
        ("progress", KeyProgress),
    )
    cipher: int
    auth: int
    key_id: int
    data_v2: bool
    peer_id: int
    workers: int
    send: KeyHalfStruct
    receive: KeyHalfStruct
    progress: KeyProgress

    @classmethod
    def of(
        cls, key: DataKey, peer_id: int | None, *, workers: int = 1, progress: KeyProgress | None = None
    ) -> KeySettings:
        """The key as `tunnel.plane` hands it over; DATA_V1 where `peer_id` is None."""
        return cls(
            cipher=CIPHERS.index(key.cipher),
            auth=DIGESTS.index(key.auth),
            key_id=key.key_id,
            data_v2=peer_id is not None,
            peer_id=peer_id or 0,
            workers=workers,
            send=KeyHalfStruct.of(key.send),
            receive=KeyHalfStruct.of(key.receive),
            progress=progress or KeyProgress(),
        )


class WearLimitsStruct(ctypes.Structure):
    """`struct wear_limits`."""

    _fields_ = (("packets", ctypes.c_uint64), ("octets", ctypes.c_uint64))


def key_library(*more: str, of: str | None = None) -> ctypes.CDLL:
    """Keys as a library, with the chosen back end or that `of` a name. Skips the test where that one cannot be had."""
    name = back_end if of is None else of
    library = _declared(BACK_ENDS.get(name, ()), more)
    if name and library.aead_backend().decode() != name:
        pytest.skip(f"needs {name}")
    return library


@functools.cache
def _declared(flags: tuple[str, ...], more: tuple[str, ...]) -> ctypes.CDLL:
    return declare(load(*SOURCES, *more, flags=flags))


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """Tell a library with `SOURCES` what the functions of `data_key.h` take and give."""
    pointer = ctypes.c_void_p
    signatures: dict[str, tuple[Sequence[type], type | None]] = {
        "data_key_new": ((ctypes.POINTER(KeySettings), ctypes.POINTER(pointer)), ctypes.c_int),
        "data_key_free": ((pointer,), None),
        "data_key_id": ((pointer,), ctypes.c_uint8),
        "sealed_size": ((pointer, ctypes.c_size_t), ctypes.c_size_t),
        "seal": ((pointer, ctypes.c_uint, Span, Span), ctypes.c_size_t),
        "open_untrusted": ((pointer, ctypes.c_uint, Span, ctypes.POINTER(Span)), ctypes.c_int),
        "is_worn": ((pointer, ctypes.POINTER(WearLimitsStruct)), ctypes.c_bool),
        "data_key_progress": ((pointer, ctypes.POINTER(KeyProgress)), None),
        "aead_backend": ((), ctypes.c_char_p),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def make_key(settings: KeySettings, *, of: str | None = None) -> tuple[int, ctypes.c_void_p]:
    """What `data_key_new` gives, and the key that it made."""
    made = ctypes.c_void_p()
    return key_library(of=of).data_key_new(ctypes.byref(settings), ctypes.byref(made)), made


@dataclass(frozen=True, slots=True)
class Sealed:
    """What `seal` gave, with all the room that it had."""

    size: int
    room: bytes


class NativeKey:
    """A `struct data_key`. Every packet lies in memory that is exactly as long as it is."""

    def __init__(self, settings: KeySettings, *, of: str | None = None) -> None:
        self._library = key_library(of=of)
        error, self._key = make_key(settings, of=of)
        assert error == 0, errno.errorcode[-error]

    def __del__(self) -> None:
        if hasattr(self, "_key"):
            self._library.data_key_free(self._key)

    @property
    def key_id(self) -> int:
        return int(self._library.data_key_id(self._key))

    def sealed_size(self, payload_size: int) -> int:
        return int(self._library.sealed_size(self._key, payload_size))

    def try_seal(self, payload: bytes, *, room: int, worker: int = 0) -> Sealed:
        memory, out = Buffer(payload), Buffer(b"", room)
        size = self._library.seal(self._key, worker, memory.span, out.span)
        return Sealed(size, out.octets())

    def seal(self, payload: bytes, worker: int = 0) -> bytes:
        """The whole data packet; empty where C gives 0."""
        sealed = self.try_seal(payload, room=self.sealed_size(len(payload)), worker=worker)
        assert sealed.size in (0, len(sealed.room))
        return sealed.room[: sealed.size]

    def open_untrusted(self, packet: bytes, worker: int = 0) -> bytes:
        """The payload. Raises what `tunnel.data_channel` raises."""
        memory, payload = Buffer(packet), Span()
        opened = self._library.open_untrusted(self._key, worker, memory.span, ctypes.byref(payload))
        if opened:
            assert payload.size == 0
            raise Replayed if opened == _REPLAYED else NotAuthentic
        return payload.octets()

    def is_worn(self, limits: WearLimits) -> bool:
        return bool(self._library.is_worn(self._key, WearLimitsStruct(limits.packets, limits.octets)))

    @property
    def progress(self) -> KeyProgress:
        progress = KeyProgress()
        self._library.data_key_progress(self._key, ctypes.byref(progress))
        return progress


def key_of(cipher: Cipher, *, server: bool = True, key_id: int = 0, auth: str = "SHA1") -> DataKey:
    """One side's half of what a key exchange might have given."""
    send, receive = split_key_block(_KEY_BLOCK, server=server)
    return DataKey(key_id=key_id, cipher=cipher, send=send, receive=receive, auth=auth)


def native(
    cipher: Cipher,
    peer_id: int | None = 7,
    *,
    server: bool = True,
    auth: str = "SHA1",
    workers: int = 1,
    progress: KeyProgress | None = None,
    of: str | None = None,
) -> NativeKey:
    """That key in C: DATA_V1 where `peer_id` is None; of the back end that `key_library` gives."""
    key = key_of(cipher, server=server, auth=auth)
    return NativeKey(KeySettings.of(key, peer_id, workers=workers, progress=progress), of=of)
