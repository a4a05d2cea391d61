"""Opening the plane's sockets, and what the operating system's refusals mean to a person."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final

from tunnel.plane import Transport
from tunnel.udp_offload import enlarge_buffers

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from tunnel.plane_settings import PlaneSettings

__all__ = ["check_free", "open_listener", "open_udp", "open_udp_group"]

_BACKLOG: Final = 1024
"""Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`."""


def open_udp(listen: IPv4Address | IPv6Address, port: int) -> socket.socket:
    """A bound, non-blocking UDP socket with large buffers. Raises OSError, whose text says what to do."""
    sock = _open(listen, port, socket.SOCK_DGRAM)
    enlarge_buffers(sock)
    return sock


def open_udp_group(listen: IPv4Address | IPv6Address, port: int, count: int) -> list[socket.socket]:
    """`count` sockets as `open_udp` gives one, that share what arrives at one port (socket(7), `SO_REUSEPORT`).

    The first is bound before it lets others share. Asking for that before the bind would let anybody's sockets of the
    same user into the group: a second gateway would not be refused, but get half of the packets.
    """
    first = open_udp(listen, port)
    group = [first]
    try:
        while len(group) < count:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            group.append(_open(listen, first.getsockname()[1], socket.SOCK_DGRAM, shared=True))
            enlarge_buffers(group[-1])
    except OSError:
        for sock in group:
            sock.close()
        raise
    return group


def open_listener(listen: IPv4Address | IPv6Address, port: int) -> socket.socket:
    """A listening, non-blocking TCP socket. Raises OSError, whose text says what to do."""
    sock = _open(listen, port, socket.SOCK_STREAM)
    sock.listen(_BACKLOG)
    return sock


def check_free(settings: PlaneSettings) -> None:
    """Raise the OSError of a plane that would open its sockets now. No client notices: nothing listens."""
    for transport in settings.transports:
        kind = socket.SOCK_DGRAM if transport is Transport.UDP else socket.SOCK_STREAM
        _open(settings.listen, settings.port, kind).close()


def _open(
    listen: IPv4Address | IPv6Address, port: int, kind: socket.SocketKind, *, shared: bool = False
) -> socket.socket:
    family = socket.AF_INET if listen.version == 4 else socket.AF_INET6
    sock = socket.socket(family, kind)
    try:
        if kind is socket.SOCK_STREAM:
            # Else a restart would have to wait for the last streams' TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setblocking(False)
        sock.bind((str(listen), port))
    except OSError as error:
        sock.close()
        raise _explain(error, listen, port, kind) from error
    return sock


def _explain(error: OSError, listen: IPv4Address | IPv6Address, port: int, kind: socket.SocketKind) -> OSError:
    remedies = {
        errno.EADDRINUSE: "another program uses this port: stop it, or choose another port",
        errno.EADDRNOTAVAIL: "this host has no such address: listen on one that it has, or on 0.0.0.0 or ::",
        errno.EACCES: "ports below 1024 need the capability CAP_NET_BIND_SERVICE, or root",
    }
    number = error.errno or 0
    protocol = "TCP" if kind is socket.SOCK_STREAM else "UDP"
    place = f"{listen}:{port}" if listen.version == 4 else f"[{listen}]:{port}"
    return OSError(number, f"cannot listen on {protocol} {place}: {remedies.get(number, os.strerror(number))}")
