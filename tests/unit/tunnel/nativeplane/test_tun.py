from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.namespaced import in_new_namespace, ip
from tests.unit.tunnel.nativeplane.library import Buffer, Span, load
from tunnel.tun import TunDevice, open_tun
from tunnel.tun_offload import HEADER_SIZE, PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_FRAME = 65_535 + HEADER_SIZE
GSO_TCPV4, GSO_UDP_L4 = 1, 5
SOL_UDP, UDP_SEGMENT = 17, 103

CORE = load("tun.c")


class Queue(ctypes.Structure):
    """`struct tun_queue`."""

    _fields_ = (
        ("fd", ctypes.c_int),
        ("has_header", ctypes.c_bool),
        ("tso", ctypes.c_bool),
        ("uso", ctypes.c_bool),
    )

    @property
    def facts(self) -> tuple[bool, bool, bool]:
        return self.has_header, self.tso, self.uso

    def read(self, room: int = LARGEST_FRAME) -> bytes | int:
        """A frame, or what is given instead."""
        buffer = Buffer(b"", room)
        size: int = CORE.tun_read(ctypes.byref(self), buffer.span)
        return buffer.octets()[:size] if size > 0 else size

    def frames(self) -> Iterator[bytes]:
        while isinstance(frame := self.read(), bytes):
            yield frame

    def write(self, *pieces: bytes) -> int:
        buffers = [Buffer(piece) for piece in pieces]
        vector = (Span * len(pieces))(*(buffer.span for buffer in buffers))  # as `struct iovec`
        result: int = CORE.tun_write(ctypes.byref(self), vector, len(pieces))
        return result


CORE.tun_prepare.argtypes = (ctypes.POINTER(Queue), ctypes.c_int, ctypes.c_bool)
CORE.tun_read.argtypes = (ctypes.POINTER(Queue), Span)
CORE.tun_read.restype = ctypes.c_ssize_t
CORE.tun_write.argtypes = (ctypes.POINTER(Queue), ctypes.c_void_p, ctypes.c_int)


def prepare(fd: int, *, offload: bool = True) -> Queue:
    queue = Queue()
    assert CORE.tun_prepare(ctypes.byref(queue), fd, offload) == 0
    return queue


def open_device(*, offload: bool = True) -> TunDevice:
    """A device with 192.0.2.1 on it, behind which all of 192.0.2.0/24 is."""
    device = open_tun(offload=offload)
    ip(f"address add 192.0.2.1/24 dev {device.name}")
    ip(f"link set {device.name} up mtu 1500")
    return device


def udp_packet(data: bytes) -> bytes:
    """From 192.0.2.9 to port 7 of 192.0.2.1, without checksums to speak of."""
    udp = struct.pack("!HHHH", 9, 7, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\xc0\0\2\x09", b"\xc0\0\2\x01")
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + udp


# Anything that is no TUN device


@pytest.fixture
def pair() -> Iterator[tuple[Queue, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        yield prepare(one.fileno()), other


def test_what_is_no_device_has_neither_headers_nor_offload(pair: tuple[Queue, socket.socket]) -> None:
    assert pair[0].facts == (False, False, False)


def test_a_frame_goes_out_in_one_piece_however_many_it_comes_in(pair: tuple[Queue, socket.socket]) -> None:
    queue, other = pair
    assert queue.write(b"one", b"", b" frame") == 0
    assert other.recv(100) == b"one frame"


def test_frames_come_one_by_one_and_nobody_waits_for_the_next(pair: tuple[Queue, socket.socket]) -> None:
    queue, other = pair
    other.send(b"one")
    other.send(b"two")
    assert [queue.read(), queue.read(), queue.read()] == [b"one", b"two", 0]


def test_a_device_that_takes_no_more_says_so_and_nobody_waits(pair: tuple[Queue, socket.socket]) -> None:
    queue, other = pair
    refusals = (queue.write(b"x" * 1000) for _ in range(100_000))
    assert next(filter(None, refusals)) == -errno.EAGAIN
    other.recv(1000)
    assert queue.write(b"again") == 0


def test_what_is_no_device_cannot_be_steered(pair: tuple[Queue, socket.socket]) -> None:
    assert CORE.tun_steer_by_destination(pair[0].fd) == -errno.ENOTTY


def test_a_descriptor_that_is_not_open_is_refused() -> None:
    assert CORE.tun_prepare(ctypes.byref(Queue()), -1, True) == -errno.EBADF


# Devices


@in_new_namespace
def test_a_device_without_headers_gives_and_takes_bare_packets() -> None:
    with closing(open_device(offload=False)) as device, socket.socket(type=socket.SOCK_DGRAM) as target:
        target.bind(("192.0.2.1", 7))
        queue = prepare(device.fd)
        assert queue.facts == (False, False, False)
        assert queue.write(udp_packet(b"in")) == 0
        assert target.recv(100) == b"in"
        target.sendto(b"out", ("192.0.2.9", 9))
        assert [frame[28:] for frame in queue.frames() if frame[9] == socket.IPPROTO_UDP] == [b"out"]


@in_new_namespace
def test_a_device_with_headers_gives_and_takes_them() -> None:
    with closing(open_device()) as device, socket.socket(type=socket.SOCK_DGRAM) as target:
        target.bind(("192.0.2.1", 7))
        queue = prepare(device.fd, offload=False)
        assert queue.facts == (True, False, False)
        assert queue.write(PLAIN, udp_packet(b"in")) == 0
        assert target.recv(100) == b"in"
        target.sendto(b"out", ("192.0.2.9", 9))
        frames = [frame for frame in queue.frames() if frame[HEADER_SIZE + 9] == socket.IPPROTO_UDP]
        assert [(frame[1], frame[HEADER_SIZE + 28 :]) for frame in frames] == [(0, b"out")]


@in_new_namespace
def test_with_offload_segments_are_left_to_us() -> None:
    with closing(open_device()) as device, socket.socket(type=socket.SOCK_DGRAM) as sender:
        queue = prepare(device.fd)
        assert queue.facts == (True, True, linux() >= (6, 2))
        send_joined(sender)
        frames = [frame for frame in queue.frames() if frame[HEADER_SIZE + 9] == socket.IPPROTO_UDP]
        if queue.uso:
            [frame] = frames
            assert (frame[1], struct.unpack_from("=H", frame, 4)[0]) == (GSO_UDP_L4, 1000)
            assert len(frame) == HEADER_SIZE + 28 + 5000
        else:
            assert [len(frame) for frame in frames] == 5 * [HEADER_SIZE + 1028]


def linux() -> tuple[int, ...]:
    return tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])


def send_joined(sender: socket.socket) -> None:
    """Five datagrams of 1000 octets, in one."""
    sender.sendmsg([bytes(5000)], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 1000))], 0, ("192.0.2.9", 9))


@in_new_namespace
def test_what_another_process_switched_on_is_switched_off() -> None:
    with closing(open_device()) as device, socket.socket(type=socket.SOCK_DGRAM) as sender:
        prepare(device.fd)
        queue = prepare(device.fd, offload=False)
        assert queue.facts == (True, False, False)
        send_joined(sender)
        frames = [frame for frame in queue.frames() if frame[HEADER_SIZE + 9] == socket.IPPROTO_UDP]
        assert [(frame[1], len(frame)) for frame in frames] == 5 * [(0, HEADER_SIZE + 1028)]


@in_new_namespace
def test_every_queue_of_a_device_has_offload() -> None:
    with ExitStack() as stack:
        queues = [stack.enter_context(closing(open_queue())) for _ in range(3)]
        prepared = [prepare(queue.fileno()) for queue in queues]
        assert {queue.facts for queue in prepared} == {(True, True, linux() >= (6, 2))}


class QueueFile:
    """One queue of the device `many`."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/net/tun", os.O_RDWR)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


def open_queue() -> QueueFile:
    tun, no_pi, multi_queue, headers, tunsetiff = 0x0001, 0x1000, 0x0100, 0x4000, 0x400454CA
    queue = QueueFile()
    fcntl.ioctl(queue, tunsetiff, struct.pack("=16sH22x", b"many", tun | no_pi | multi_queue | headers))
    return queue


@in_new_namespace
def test_what_one_destination_gets_comes_by_one_queue_whichever_its_answers_went_into() -> None:
    with ExitStack() as stack:
        queues = [prepare(stack.enter_context(closing(open_queue())).fileno()) for _ in range(3)]
        target = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        ip("address add 192.0.2.1/24 dev many")
        ip("link set many up")
        target.bind(("192.0.2.1", 7))
        assert CORE.tun_steer_by_destination(queues[0].fd) == 0
        for answered in queues:
            assert answered.write(PLAIN, udp_packet(b"in")) == 0
            assert target.recv(100) == b"in"
            target.sendto(b"out", ("192.0.2.9", 9))
            target.sendto(b"out", ("192.0.2.10", 9))
            came = [
                (frame[HEADER_SIZE + 19], number) for number, queue in enumerate(queues) for frame in datagrams(queue)
            ]
            assert sorted(came) == [(9, 0xC0000209 % 3), (10, 0xC000020A % 3)]


def datagrams(queue: Queue) -> Iterator[bytes]:
    """Frames without those that the kernel sends into every device."""
    return (frame for frame in queue.frames() if frame[HEADER_SIZE + 9] == socket.IPPROTO_UDP)


@in_new_namespace
def test_what_the_device_refuses_is_said() -> None:
    with closing(open_device()) as device:
        queue = prepare(device.fd)
        assert queue.write(PLAIN, b"\x00no IP packet") == -errno.EINVAL
        assert queue.write(PLAIN[:5]) == -errno.EINVAL
        ip(f"link set {device.name} down")
        assert queue.write(PLAIN, udp_packet(b"in")) == -errno.EIO


@in_new_namespace
def test_a_device_that_is_gone_says_so() -> None:
    with closing(open_device()) as device:
        queue = prepare(device.fd)
        while queue.read():
            pass
        ip(f"link delete {device.name}")
        assert queue.read() == -errno.EBADFD
        assert queue.write(PLAIN, udp_packet(b"in")) == -errno.EBADFD
