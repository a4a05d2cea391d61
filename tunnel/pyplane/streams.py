"""One accepted TCP stream: reading frames, and writing them without ever making anybody wait.

Owns the socket, the framing and the backlog. Knows no keys; what a frame is for, its taker decides.

Writing: what the socket does not take at once waits in the backlog, which a task empties as the socket allows. Frames
are whole when they enter it, so the stream is never out of step. Before that, `is_full` tells the data path to drop.
"""

from __future__ import annotations

import math
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from tunnel.errors import BadPacket
from tunnel.stream_framing import StreamFramer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunnel.plane import Path
    from tunnel.plane_settings import StreamLimits
    from tunnel.pyplane.peers import PeerRecord

__all__ = ["Stream"]

_READ_SIZE: Final = 65_536


class Stream:
    """One client's TCP connection."""

    __slots__ = (
        "_backlog",
        "_backlog_octets",
        "_closing",
        "_framer",
        "_limits",
        "_nursery",
        "_scope",
        "_sock",
        "_writing",
        "is_full",
        "path",
        "peer",
    )

    def __init__(self, sock: socket.socket, path: Path, limits: StreamLimits, nursery: trio.Nursery) -> None:
        self.path = path
        self.peer: PeerRecord | None = None
        """Who was let in on this stream; None before and after."""
        self.is_full = False
        """Whether data must be dropped, because the client does not read as fast as it is sent to."""
        self._sock = sock
        self._limits = limits
        self._nursery = nursery
        self._framer = StreamFramer()
        self._scope = trio.CancelScope(deadline=trio.current_time() + limits.first_packet_timeout_s)
        self._backlog: deque[memoryview] = deque()
        self._backlog_octets = 0
        self._writing = False
        self._closing = False

    async def run(self, take: Callable[[bytes, Stream], None], flush: Callable[[], None]) -> None:
        """Hand each frame to `take`, and call `flush` after each batch, until either side closes."""
        try:
            with self._scope:
                while data := await self._read():
                    if self._closing:
                        continue
                    for packet in self._framer.feed_untrusted(data):
                        take(packet, self)
                    flush()
        except (OSError, BadPacket):
            # A reset, or a stream that is out of step: both end it, and neither is worth a sentence.
            pass
        finally:
            # A writer that waits must hear of it: else it would wait on the next stream's socket, of the same number.
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._backlog.clear()

    async def _read(self) -> bytes:
        """One read of whatever is there; other tasks run in between, so that no stream holds up the rest."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                continue

    def keep(self) -> None:
        """Somebody above knows this stream now, and decides how long it lives."""
        if not self._closing and self._scope.deadline != math.inf:
            self._scope.deadline = math.inf

    def send(self, packets: Sequence[bytes]) -> bool:
        """Send packets as frames; `is_full` says whether to go on. False, and nothing sent, once it is being closed."""
        if self._closing or self._sock.fileno() < 0:
            return False
        parts: list[bytes] = []
        for packet in packets:
            parts += (len(packet).to_bytes(2, "big"), packet)
        self._write(b"".join(parts))
        return True

    def send_control(self, packets: Sequence[bytes]) -> None:
        """The same for packets that may not be dropped: a client that lets too many of them wait is cut off."""
        if self._backlog_octets > self._limits.backlog_octets + self._limits.control_backlog_octets:
            self.abort()
        else:
            self.send(packets)

    def close(self) -> None:
        """Write what waits, then close our side, then wait for the client's; all that for a bounded time."""
        if not self._closing:
            self._closing = True
            self._scope.deadline = trio.current_time() + self._limits.close_timeout_s
            self._finish_when_written()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._scope.cancel()

    def _write(self, data: bytes) -> None:
        if self._backlog:
            self._queue(memoryview(data))
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return
        if sent < len(data):
            self._queue(memoryview(data)[sent:])

    def _queue(self, data: memoryview) -> None:
        self._backlog.append(data)
        self._backlog_octets += len(data)
        self.is_full = self._backlog_octets > self._limits.backlog_octets
        if not self._writing:
            self._writing = True
            self._nursery.start_soon(self._empty_backlog)

    async def _empty_backlog(self) -> None:
        """Write what waits, as the client reads it."""
        try:
            while self._backlog:
                await trio.lowlevel.wait_writable(self._sock)
                self._write_first()
        except (OSError, trio.ClosedResourceError):
            self.abort()
        finally:
            self._writing = False
        self._finish_when_written()

    def _write_first(self) -> None:
        if not self._backlog:  # the stream has ended since the socket was found writable
            return
        try:
            sent = self._sock.send(self._backlog[0])
        except BlockingIOError:
            return
        rest = self._backlog.popleft()[sent:]
        if rest:
            self._backlog.appendleft(rest)
        self._backlog_octets -= sent
        self.is_full = self._backlog_octets > self._limits.backlog_octets

    def _finish_when_written(self) -> None:
        """Say that nothing more comes. Closing outright would discard what the client has not read yet."""
        if not self._closing or self._backlog or self._sock.fileno() < 0:
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()
