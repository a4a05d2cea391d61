"""Cutting and joining, as the core's C functions do them."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

from tests.unit.tunnel.nativeplane.library import Buffer, Span, load
from tests.unit.tunnel.nativeplane.packets import NONE, VIRTIO_SIZE, naive_cut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

library = load("cut.c", "train.c", "inner.c", "checksum.c")

MOST_TRAINS = 64


class Cutter(ctypes.Structure):
    """`struct cutter`; what is not named here is its own business."""

    _fields_ = (
        ("count", ctypes.c_size_t),
        ("segment", ctypes.c_size_t),
        ("last", ctypes.c_size_t),
        ("own", ctypes.c_uint8 * 512),
    )


library.cut_begin.argtypes = (ctypes.POINTER(Cutter), Span, ctypes.c_bool)
library.cut_begin.restype = ctypes.c_bool
library.cut_next.argtypes = (ctypes.POINTER(Cutter), ctypes.POINTER(Span))
library.cut_next.restype = ctypes.c_bool


def cut(frame: bytes, *, has_header: bool = True) -> list[bytes] | None:
    """The packets of a frame; None when it is refused."""
    buffer, cutter, packet = Buffer(frame), Cutter(), Span()
    if not library.cut_begin(ctypes.byref(cutter), buffer.span, has_header):
        assert not library.cut_next(ctypes.byref(cutter), ctypes.byref(packet))
        return None
    packets = list[bytes]()
    while library.cut_next(ctypes.byref(cutter), ctypes.byref(packet)):
        packets.append(packet.octets())
    assert [len(one) for one in packets] == [*[cutter.segment] * (cutter.count - 1), cutter.last]
    return packets


class IoVec(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


_Write = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.POINTER(IoVec),
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.c_size_t,
)


class _Trains(ctypes.Structure):
    """`struct trains`."""

    _fields_ = (
        ("write", _Write),
        ("context", ctypes.c_void_p),
        ("has_header", ctypes.c_bool),
        ("joins_tcp", ctypes.c_bool),
        ("joins_udp", ctypes.c_bool),
        ("used", ctypes.c_uint),
        ("flows", ctypes.c_uint64 * MOST_TRAINS),
        ("train", ctypes.c_void_p),
    )


library.trains_new.argtypes = (
    *(ctypes.POINTER(_Trains), _Write, ctypes.c_void_p),
    *(ctypes.c_bool, ctypes.c_bool, ctypes.c_bool),
)
library.trains_free.argtypes = library.trains_flush.argtypes = (ctypes.POINTER(_Trains),)
library.trains_free.restype = library.trains_flush.restype = None
library.train_take.argtypes = library.train_extend.argtypes = (ctypes.POINTER(_Trains), ctypes.c_void_p, Span)
library.train_take.restype = None
library.train_extend.restype = ctypes.c_bool


class Written(NamedTuple):
    """What was given to the device at once."""

    peer: int
    frame: bytes
    packets: int
    octets: int

    def segments(self) -> list[bytes]:
        """What a device with virtio headers makes of it."""
        packet = self.frame[VIRTIO_SIZE:]
        if self.frame[1] == NONE:
            assert self.frame[:VIRTIO_SIZE] == bytes(VIRTIO_SIZE)
            return [packet]
        return naive_cut(packet, int.from_bytes(self.frame[4:6], "little"))


class Trains:
    """Trains whose writes are kept, or refused."""

    def __init__(self, *, has_header: bool = True, joins_tcp: bool = True, joins_udp: bool = True) -> None:
        self.written = list[Written]()
        self.attempts = list[int]()
        """Of all writes, refused ones too: how many packets."""
        self.answer: Callable[[Written], int] = lambda _: 0
        self._buffers = list[Buffer]()
        self._write = _Write(self._on_write)
        self._trains = _Trains()
        at = ctypes.byref(self._trains)
        assert library.trains_new(at, self._write, None, has_header, joins_tcp, joins_udp) == 0

    def close(self) -> None:
        """Give the memory back."""
        library.trains_free(ctypes.byref(self._trains))

    def extend(self, packet: bytes, peer: int = 1) -> bool:
        """Whether it simply continues a train."""
        self._buffers.append(Buffer(packet))
        return bool(library.train_extend(ctypes.byref(self._trains), peer, self._buffers[-1].span))

    def take(self, *packets: bytes, peer: int = 1) -> None:
        """As ingress does it: most packets continue a train."""
        for packet in packets:
            if not self.extend(packet, peer):
                library.train_take(ctypes.byref(self._trains), peer, self._buffers[-1].span)

    def flush(self) -> list[Written]:
        """The end of a batch: what was written in it."""
        library.trains_flush(ctypes.byref(self._trains))
        self._buffers.clear()
        written, self.written = self.written, []
        return written

    def _on_write(
        self, _context: int | None, peer: int, pieces: Sequence[IoVec], count: int, packets: int, octets: int
    ) -> int:
        parts = [ctypes.string_at(pieces[at].base, pieces[at].size) for at in range(count)]
        written = Written(peer, b"".join(parts), packets, octets)
        self.attempts.append(packets)
        answer = self.answer(written)
        if answer == 0:
            self.written.append(written)
        return answer
