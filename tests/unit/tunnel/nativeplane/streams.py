"""A stream of the core, the worker that serves it, and its client."""

from __future__ import annotations

import ctypes
import select
import socket
from typing import TYPE_CHECKING

from tests.unit.tunnel.nativeplane.library import Buffer, Span, load
from tests.unit.tunnel.nativeplane.paths import Path
from tunnel.stream_framing import StreamFramer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OPEN, ENDED = 0, 1
MOST_FRAME = 10_240
MOST_RUN = 65_507 + 64 * 2
"""Octets that one call may add to what waits."""
READ_SIZE = 65_536
_SMALL = 4096

CORE = load("stream.c")
_Take = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, Span)
CORE.stream_new.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_uint) + 3 * (ctypes.c_void_p,)
CORE.stream_free.argtypes = (ctypes.c_void_p,)
CORE.stream_read.argtypes = (ctypes.c_void_p, Span, _Take, ctypes.c_void_p)
CORE.stream_write.argtypes = (ctypes.c_void_p,)
CORE.stream_is_overdue.argtypes = (ctypes.c_void_p, ctypes.c_uint64)
CORE.stream_is_overdue.restype = ctypes.c_bool
CORE.stream_end.argtypes = (ctypes.c_void_p,)
CORE.stream_send_data.argtypes = (ctypes.c_void_p, Span, ctypes.c_size_t, ctypes.c_uint)
CORE.stream_send_data.restype = ctypes.c_uint
CORE.stream_send_control.argtypes = (ctypes.c_void_p, Span)
CORE.stream_close.argtypes = (ctypes.c_void_p, ctypes.c_uint64)
CORE.stream_abort.argtypes = (ctypes.c_void_p,)


class Limits(ctypes.Structure):
    """`struct stream_limits`."""

    _fields_ = (
        ("backlog", ctypes.c_size_t),
        ("control_backlog", ctypes.c_size_t),
        ("close_timeout_ms", ctypes.c_uint),
    )
    backlog: int
    control_backlog: int


class StreamStruct(ctypes.Structure):
    """`struct stream`."""

    _fields_ = (
        ("path", Path),
        ("worker", ctypes.c_uint),
        ("peer", ctypes.c_void_p),
        ("is_full", ctypes.c_bool),
        ("limits", Limits),
        ("epoll", ctypes.c_int),
        ("mutex", ctypes.c_uint64 * 5),
        ("fd", ctypes.c_int),
        ("closing", ctypes.c_bool),
        ("aborted", ctypes.c_bool),
        ("deadline", ctypes.c_uint64),
        ("waiting", ctypes.c_void_p),
        ("room", ctypes.c_size_t),
        ("begin", ctypes.c_size_t),
        ("used", ctypes.c_size_t),
        ("partial", ctypes.c_void_p),
        ("partial_used", ctypes.c_size_t),
    )


DEFAULT_LIMITS = Limits(8000, 4000, 5000)


class NativeStream:
    """A `struct stream`, and what a worker has for it."""

    def __init__(self, sock: socket.socket, limits: Limits = DEFAULT_LIMITS) -> None:
        """Takes the socket over, with a send buffer as small as can be."""
        self.epoll = select.epoll()
        self.frames: list[bytes] = []
        self.on_frame: Callable[[], None] = lambda: None
        self._buffer = Buffer(b"", READ_SIZE)
        self._take = _Take(self._remember)
        self.error, made = new_stream(sock.fileno(), self.epoll.fileno(), limits)
        assert self.error == 0
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL)
        sock.detach()
        self._stream = made
        self.facts = StreamStruct.from_address(made)

    def _remember(self, _context: int, stream: int, frame: Span) -> None:
        assert stream == self._stream
        assert self._buffer.span.at <= frame.at <= frame.at + frame.size <= self._buffer.span.at + READ_SIZE
        self.frames.append(frame.octets())
        self.on_frame()

    def read(self, room: int = READ_SIZE) -> int:
        state: int = CORE.stream_read(self._stream, Span(self._buffer.span.at, room), self._take, None)
        return state

    def write(self) -> int:
        state: int = CORE.stream_write(self._stream)
        return state

    def ready(self) -> int:
        """What epoll says of it now."""
        return next((events for _, events in self.epoll.poll(0)), 0)

    def serve(self) -> int:
        """One turn of a worker."""
        ready, state = self.ready(), OPEN
        if ready & select.EPOLLOUT:
            state = self.write()
        if state == OPEN and ready & ~select.EPOLLOUT:
            state = self.read()
        return state

    def send(self, packets: Sequence[bytes]) -> bool:
        """Send a run; whether it was taken."""
        return self.send_octets(b"".join(packets), len(packets[0]), len(packets)) == 0

    def send_octets(self, octets: bytes, segment: int, count: int) -> int:
        buffer = Buffer(octets)
        refused: int = CORE.stream_send_data(self._stream, buffer.span, segment, count)
        assert refused in (0, count)
        return refused

    def send_control(self, packet: bytes) -> None:
        buffer = Buffer(packet)
        CORE.stream_send_control(self._stream, buffer.span)

    def close(self, now: int = 0) -> None:
        CORE.stream_close(self._stream, now)

    def abort(self) -> None:
        CORE.stream_abort(self._stream)

    def is_overdue(self, now: int) -> bool:
        return bool(CORE.stream_is_overdue(self._stream, now))

    def end(self) -> None:
        CORE.stream_end(self._stream)

    def free(self) -> None:
        CORE.stream_free(self._stream)
        self.epoll.close()


def new_stream(fd: int, epoll: int, limits: Limits) -> tuple[int, int]:
    """What `stream_new` gives, and the address of what it made."""
    made = ctypes.c_void_p()
    path = Path.to("192.0.2.1", 40_000, stream=7)
    error = CORE.stream_new(fd, epoll, 3, ctypes.byref(path), ctypes.byref(limits), ctypes.byref(made))
    return error, made.value or 0


class Client:
    """The other end: takes frames when it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self.frames: list[bytes] = []
        self.at_end = False
        self._framer = StreamFramer(max_packet=READ_SIZE)

    def read(self, most: int = READ_SIZE) -> int:
        """Take what is there; how much that was."""
        try:
            data = self.sock.recv(most)
        except BlockingIOError:
            return 0
        self.at_end = not data
        self.frames += self._framer.feed_untrusted(data)
        return len(data)


def connect() -> tuple[socket.socket, socket.socket]:
    """A TCP connection, with small buffers: the server's end, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)
    return server, client
