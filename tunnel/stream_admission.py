"""Accepting TCP streams, and bounding what strangers may hold open.

Owns the numbers of streams and the count of strangers: a stream on which no client was let in yet counts as unproven;
of those there may be so many, and so many from one source prefix. Knows no packets and keeps no stream: whoever is
handed an accepted socket owns it from then on.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

import trio

from tunnel.address_text import host_text
from tunnel.plane import Path, Transport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tunnel.plane_settings import StreamLimits

__all__ = ["StreamAdmission"]

_ACCEPT_BATCH: Final = 64
_OUT_OF_FILES_PAUSE_S: Final = 0.1
"""Pause after accept failed for want of descriptors or memory. The connection stays queued: at once would spin."""


class StreamAdmission:
    """The door of one listening socket."""

    __slots__ = ("_last_number", "_limits", "_sock", "_unproven", "_unproven_by_prefix")

    def __init__(self, sock: socket.socket, limits: StreamLimits) -> None:
        self._sock = sock
        self._limits = limits
        self._last_number = 0
        self._unproven: dict[int, bytes] = {}
        """Stream number to source prefix."""
        self._unproven_by_prefix: Counter[bytes] = Counter()

    async def run(self, take: Callable[[socket.socket, Path], None]) -> None:
        """Hand accepted streams, non-blocking, to `take` until cancelled; where that raises OSError they are closed."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            for _ in range(_ACCEPT_BATCH):
                try:
                    sock, address = self._sock.accept()
                except BlockingIOError:
                    break
                except ConnectionError:
                    continue
                except OSError:
                    await trio.sleep(_OUT_OF_FILES_PAUSE_S)
                    break
                self._admit(sock, address, take)

    def prove(self, number: int) -> None:
        """A client was let in on this stream, or it has ended: it no longer counts against the strangers."""
        prefix = self._unproven.pop(number, None)
        if prefix is None:
            return
        self._unproven_by_prefix[prefix] -= 1
        if not self._unproven_by_prefix[prefix]:
            del self._unproven_by_prefix[prefix]

    def _admit(
        self, sock: socket.socket, address: tuple[str, int], take: Callable[[socket.socket, Path], None]
    ) -> None:
        prefix = _prefix_of(address[0])
        full = len(self._unproven) >= self._limits.unproven
        if full or self._unproven_by_prefix.get(prefix, 0) >= self._limits.unproven_per_prefix:
            sock.close()
            return
        self._last_number += 1
        self._unproven[self._last_number] = prefix
        self._unproven_by_prefix[prefix] += 1
        path = Path(Transport.TCP, (host_text(address[0]), address[1]), stream=self._last_number)
        try:
            sock.setblocking(False)
            take(sock, path)
        except OSError:
            sock.close()
            self.prove(path.stream)


def _prefix_of(host: str) -> bytes:
    """The /24 of an IPv4 address, the /56 of an IPv6 address: about what one subscriber holds."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return address.packed[:7]
        address = address.ipv4_mapped
    return address.packed[:3]
