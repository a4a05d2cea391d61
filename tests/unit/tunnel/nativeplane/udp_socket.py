"""The core's UDP sockets and receivers, in Python's terms."""

from __future__ import annotations

import ctypes
import select
import socket
from typing import TYPE_CHECKING, NamedTuple

from tests.unit.tunnel.nativeplane.library import Buffer, Span, load
from tests.unit.tunnel.nativeplane.paths import Path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_MESSAGES = 64
DEADLINE_S = 10

CORE = load("udp.c")
CORE.udp_prepare.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_bool)
CORE.udp_receiver_new.restype = ctypes.c_void_p
CORE.udp_receiver_free.argtypes = (ctypes.c_void_p,)
CORE.udp_receive.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)
CORE.udp_message.argtypes = (ctypes.c_void_p, ctypes.c_uint)
CORE.udp_send.argtypes = (ctypes.c_void_p, ctypes.c_void_p, Span, ctypes.c_size_t, ctypes.c_uint)
CORE.udp_send.restype = ctypes.c_uint


class UdpSocketFacts(ctypes.Structure):
    """`struct udp_socket`."""

    _fields_ = (
        ("fd", ctypes.c_int),
        ("family", ctypes.c_int),
        ("wants_local", ctypes.c_bool),
        ("gso", ctypes.c_bool),
        ("gso_refusals", ctypes.c_uint64),
    )


class _Message(ctypes.Structure):
    """`struct udp_message`."""

    _fields_ = (("data", Span), ("segment", ctypes.c_size_t), ("path", Path))


CORE.udp_message.restype = ctypes.POINTER(_Message)


class Message(NamedTuple):
    """What one message of the kernel brought."""

    data: bytes
    segment: int
    path: Path

    def datagrams(self) -> list[bytes]:
        step = max(self.segment, 1)
        return [self.data[at : at + step] for at in range(0, len(self.data), step)]


class UdpSocket:
    """A bound socket that the core has prepared."""

    def __init__(self, sock: socket.socket, *, offload: bool = True) -> None:
        self.sock = sock
        self.facts = UdpSocketFacts()
        self._receiver = CORE.udp_receiver_new()
        self.error = CORE.udp_prepare(ctypes.byref(self.facts), sock.fileno(), offload)

    @property
    def port(self) -> int:
        number: int = self.sock.getsockname()[1]
        return number

    def receive(self, most: int = MOST_MESSAGES) -> list[Message]:
        count = CORE.udp_receive(self._receiver, ctypes.byref(self.facts), most)
        messages = [CORE.udp_message(self._receiver, i).contents for i in range(count)]
        return [
            Message(message.data.octets(), message.segment, Path.from_buffer_copy(message.path)) for message in messages
        ]

    def batches(self, datagrams: int, *, most: int = MOST_MESSAGES) -> Iterator[list[Message]]:
        """Wait for so many datagrams: loopback delivers at once only as long as the machine has time."""
        while datagrams > 0:
            ready, _, _ = select.select([self.sock], [], [], DEADLINE_S)
            assert ready, f"{datagrams} datagrams have not arrived"
            messages = self.receive(most)
            yield messages
            datagrams -= sum(max(1, len(message.datagrams())) for message in messages)

    def messages(self, datagrams: int) -> list[Message]:
        return [message for messages in self.batches(datagrams) for message in messages]

    def datagrams(self, count: int) -> list[bytes]:
        return [datagram for message in self.messages(count) for datagram in message.datagrams()]

    def send(self, path: Path, datagrams: Sequence[bytes]) -> int:
        """Send a run; how many datagrams were refused."""
        return self.send_octets(path, b"".join(datagrams), len(datagrams[0]), len(datagrams))

    def send_octets(self, path: Path, octets: bytes, segment: int, count: int) -> int:
        buffer = Buffer(octets)
        refused: int = CORE.udp_send(ctypes.byref(self.facts), ctypes.byref(path), buffer.span, segment, count)
        return refused

    def close(self) -> None:
        CORE.udp_receiver_free(self._receiver)
        self.sock.close()


def open_udp(host: str = "127.0.0.1", *, port: int = 0, offload: bool = True, protocol: int = 0) -> UdpSocket:
    """A socket that listens on `host`; `::` on IPv4 too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM, protocol)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((host, port))
    return UdpSocket(sock, offload=offload)
