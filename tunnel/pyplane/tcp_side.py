"""The TCP listener: accepting streams, and bounding what strangers may hold open.

Owns the listening socket and the table of streams. A stream on which no client was let in yet counts as unproven; of
those there may be so many, and so many from one source prefix.
"""

from __future__ import annotations

import socket
from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

import trio

from tunnel.plane import Path, Transport
from tunnel.pyplane.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunnel.plane import PlaneEvents
    from tunnel.pyplane.settings import StreamLimits

__all__ = ["TcpSide"]

_ACCEPT_BATCH: Final = 64
_OUT_OF_FILES_PAUSE_S: Final = 0.1
"""Pause after accept failed for want of descriptors or memory. The connection stays queued: at once would spin."""
_SEND_BUFFER: Final = 1 << 20
"""The kernel's share of a slow client's backlog: left to itself it grows to several megabytes per stream."""


class TcpSide:
    """One listening socket and its streams."""

    __slots__ = ("_last_number", "_limits", "_streams", "_unproven", "_unproven_by_prefix", "sock")

    def __init__(self, sock: socket.socket, limits: StreamLimits) -> None:
        self.sock = sock
        self._limits = limits
        self._streams: dict[int, Stream] = {}
        self._last_number = 0
        self._unproven: dict[int, bytes] = {}
        """Stream number to source prefix."""
        self._unproven_by_prefix: Counter[bytes] = Counter()

    async def run(self, events: PlaneEvents, take: Callable[[bytes, Stream], None], flush: Callable[[], None]) -> None:
        """Accept streams and read them until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(self.sock)
                for _ in range(_ACCEPT_BATCH):
                    try:
                        sock, address = self.sock.accept()
                    except BlockingIOError:
                        break
                    except ConnectionError:
                        continue
                    except OSError:
                        await trio.sleep(_OUT_OF_FILES_PAUSE_S)
                        break
                    stream = self._admit(sock, address, nursery)
                    if stream is not None:
                        nursery.start_soon(self._serve, stream, events, take, flush)

    def stream(self, path: Path) -> Stream | None:
        """The stream of a path, if it is still there."""
        return self._streams.get(path.stream)

    def prove(self, stream: Stream) -> None:
        """A client was let in on this stream: it no longer counts against the strangers."""
        stream.keep()
        prefix = self._unproven.pop(stream.path.stream, None)
        if prefix is None:
            return
        self._unproven_by_prefix[prefix] -= 1
        if not self._unproven_by_prefix[prefix]:
            del self._unproven_by_prefix[prefix]

    def _admit(self, sock: socket.socket, address: tuple[str, int], nursery: trio.Nursery) -> Stream | None:
        prefix = _prefix_of(address[0])
        full = len(self._unproven) >= self._limits.unproven
        if full or self._unproven_by_prefix[prefix] >= self._limits.unproven_per_prefix:
            sock.close()
            if not self._unproven_by_prefix[prefix]:
                del self._unproven_by_prefix[prefix]
            return None
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        except OSError:
            sock.close()
            return None
        self._last_number += 1
        remote = (address[0].removeprefix("::ffff:") if "." in address[0] else address[0], address[1])
        stream = Stream(sock, Path(Transport.TCP, remote, stream=self._last_number), self._limits, nursery)
        self._streams[self._last_number] = stream
        self._unproven[self._last_number] = prefix
        self._unproven_by_prefix[prefix] += 1
        return stream

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


def _prefix_of(host: str) -> bytes:
    """The /24 of an IPv4 address, the /56 of an IPv6 address: about what one subscriber holds."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return address.packed[:7]
        address = address.ipv4_mapped
    return address.packed[:3]
