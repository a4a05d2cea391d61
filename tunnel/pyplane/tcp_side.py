"""The TCP listener: a task for each accepted stream, and the table of streams."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import trio

from tunnel.pyplane.streams import Stream
from tunnel.stream_admission import StreamAdmission

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunnel.plane import Path, PlaneEvents
    from tunnel.plane_settings import StreamLimits

__all__ = ["TcpSide"]

_SEND_BUFFER: Final = 1 << 20
"""The kernel's share of a slow client's backlog: left to itself it grows to several megabytes per stream."""


class TcpSide:
    """One listening socket and its streams."""

    __slots__ = ("_admission", "_limits", "_streams", "sock")

    def __init__(self, sock: socket.socket, limits: StreamLimits) -> None:
        self.sock = sock
        self._limits = limits
        self._admission = StreamAdmission(sock, limits)
        self._streams: dict[int, Stream] = {}

    async def run(self, events: PlaneEvents, take: Callable[[bytes, Stream], None], flush: Callable[[], None]) -> None:
        """Accept streams and read them until cancelled."""
        async with trio.open_nursery() as nursery:

            def begin(sock: socket.socket, path: Path) -> None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
                stream = self._streams[path.stream] = Stream(sock, path, self._limits, nursery)
                nursery.start_soon(self._serve, stream, events, take, flush)

            await self._admission.run(begin)

    def stream(self, path: Path) -> Stream | None:
        """The stream of a path, if it is this plane's and still there."""
        stream = self._streams.get(path.stream)
        return stream if stream is not None and stream.path == path else None

    def prove(self, stream: Stream) -> None:
        """A client was let in on this stream: it no longer counts against the strangers."""
        stream.keep()
        self._admission.prove(stream.path.stream)

    async def _serve(
        self,
        stream: Stream,
        events: PlaneEvents,
        take: Callable[[bytes, Stream], None],
        flush: Callable[[], None],
    ) -> None:
        events.stream_opened(stream.path)
        try:
            await stream.run(take, flush)
        finally:
            self.prove(stream)
            del self._streams[stream.path.stream]
            if stream.peer is not None:
                stream.peer.stream = None
            events.stream_closed(stream.path)
