"""Paths between the native core's terms and control's.

The core compares paths octet by octet, so each way to a client has one form there: `NativePath`. It knows UDP paths by
their addresses and streams by their number alone.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from tunnel.address_text import to_octets, to_text
from tunnel.plane import Path, Transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address

__all__ = ["NO_STREAM", "NativePath", "UdpPaths", "stream_path"]

NativePath = tuple[bytes, int, bytes, int, int]
"""Remote address, port, local address (all 0 where the socket has just one), scope, stream: `core/path.h`."""

NO_STREAM: Final = (1 << 64) - 1
"""No stream ever has this number."""
_NOWHERE: Final = bytes(16)
_KNOWN_PATHS: Final = 1024
"""Of the paths used last, 1 MB: a client that connects is heard several times within a second."""


class UdpPaths:
    """Converts the paths of one UDP socket, without loss."""

    __slots__ = ("_listen", "_native", "_wildcard", "to_path")

    def __init__(self, listen: IPv4Address | IPv6Address) -> None:
        self._listen = str(listen)
        self._wildcard = listen.is_unspecified
        self.to_path: Callable[[NativePath], Path] = functools.lru_cache(_KNOWN_PATHS)(self._to_path)
        """A path as control knows it."""
        self._native = functools.lru_cache(_KNOWN_PATHS)(self._to_native)

    def _to_path(self, native: NativePath) -> Path:
        remote, port, local, scope, _ = native
        host = to_text(remote)
        if scope:
            host = f"{host}%{scope}"
        return Path(Transport.UDP, (host, port), self._listen if local == _NOWHERE else to_text(local))

    def to_native(self, path: Path) -> NativePath:
        """The native path that `to_path` made this path of."""
        return self._native(path.remote, path.local)

    def _to_native(self, remote: tuple[str, int], local: str) -> NativePath:
        host, _, scope = remote[0].partition("%")
        chosen = self._wildcard and local not in ("", self._listen)
        return to_octets(host), remote[1], to_octets(local) if chosen else _NOWHERE, int(scope or 0), 0


def stream_path(number: int) -> NativePath:
    """The path of an accepted stream."""
    return _NOWHERE, 0, _NOWHERE, 0, number
