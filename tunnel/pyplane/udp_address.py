"""Where a datagram came from and which of this host's addresses it was sent to: the way back for the answer.

The packets' path uses a `Source`, made of what the kernel gives; control sees a `Path`. The two convert without loss.
A wildcard socket must answer from the address that the client chose, so it asks the kernel for it with each datagram
(ip(7) `IP_PKTINFO`, ipv6(7) `IPV6_RECVPKTINFO`) and names it when it sends.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

from tunnel.address_text import MAPPED_TEXT, host_text, to_octets, to_text
from tunnel.plane import Path, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address

__all__ = ["ANCILLARY_SIZE", "Ancillary", "SocketAddress", "Source", "UdpAddresses"]

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""An address as Python's sockets have it: IPv4, or IPv6 with flow label and scope."""
Source = tuple[SocketAddress, bytes]
"""The client's address, and the address of this host that it sent to: 4 or 16 octets, none where there is no choice."""
Ancillary = list[tuple[int, int, bytes]]

ANCILLARY_SIZE: Final = socket.CMSG_SPACE(20) + socket.CMSG_SPACE(4)
"""Room for the larger address message and the segment size of `UDP_GRO`."""

_IP_PKTINFO: Final = 8
_MOST_CHOSEN: Final = 1024
"""Local addresses whose control message is kept. A host may answer on a whole IPv6 prefix."""
_pack_info4 = struct.Struct("=I4s4x").pack
_pack_info6 = struct.Struct("=16sI").pack


class UdpAddresses:
    """Converts addresses for one socket."""

    __slots__ = ("_chosen", "_listen", "_wildcard")

    def __init__(self, listen: IPv4Address | IPv6Address) -> None:
        self._listen = listen
        self._wildcard = listen.is_unspecified
        self._chosen: dict[bytes, Ancillary] = {}
        """By the address of this host that a client uses; begun anew when there are too many."""

    def request_destinations(self, sock: socket.socket) -> None:
        """Let the kernel say with each datagram which address it was sent to, if that is not known anyway."""
        if self._wildcard and self._listen.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        elif self._wildcard:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    def local_of(self, ancillary: Iterable[tuple[int, int, bytes]]) -> bytes:
        """The address that a datagram was sent to."""
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                return data[4:8]
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                return data[:16]
        return b""

    def ancillary_for(self, local: bytes) -> Ancillary:
        """The control message that lets an answer leave from the address that the client sent to."""
        found = self._chosen.get(local)
        if found is None:
            if len(self._chosen) >= _MOST_CHOSEN:
                self._chosen.clear()
            found = self._chosen[local] = _build_ancillary(local)
        return found

    def path_of(self, source: Source) -> Path:
        """A source as control knows it: IPv4 clients of an IPv6 socket look like IPv4 clients."""
        address, local = source
        host = host_text(address[0])
        if len(address) == 4 and address[3] and "%" not in host:
            host = f"{host}%{address[3]}"
        return Path(Transport.UDP, remote=(host, address[1]), local=to_text(local) if local else str(self._listen))

    def source_of(self, path: Path) -> Source:
        """The source that `path_of` made this path of."""
        host, port = path.remote
        local = self._local_octets(path.local)
        if self._listen.version == 4:
            return (host, port), local
        if ":" not in host:
            host = MAPPED_TEXT + host
        host, _, scope = host.partition("%")
        return (host, port, 0, int(scope or 0)), local

    def _local_octets(self, local: str) -> bytes:
        if not self._wildcard or not local or local == str(self._listen):
            return b""
        octets = to_octets(local)
        return octets[12:] if self._listen.version == 4 else octets


def _build_ancillary(local: bytes) -> Ancillary:
    if not local:
        return []
    if len(local) == 4:
        return [(socket.IPPROTO_IP, _IP_PKTINFO, _pack_info4(0, local))]
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _pack_info6(local, 0))]
