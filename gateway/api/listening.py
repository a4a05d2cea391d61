"""Sockets and the connections on them: how many there may be, whose they are, and who is at the other end.

hypercorn speaks HTTP on each connection (`conversation`); it is handed the streams one by one, so that their number has
a bound and the peer of a Unix socket is known. Must not know what is asked.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from gateway.api.app import PEER_UID
from gateway.api.conversation import Conversations
from gateway.api.places import Place, Places, origin_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from starlette.applications import Starlette

    Tls = Callable[[], ssl.SSLContext] | None

__all__ = ["HttpServer", "ListenError", "listen_tcp", "listen_unix"]

CONNECTIONS = 512
"""At once, on all addresses together."""
SOCKET_CONNECTIONS = 256
WATCHERS = 64
"""Connections for metrics."""
BACKLOG = 1024
GRACE_S = 5.0
"""How long requests in progress may take when the server ends."""
ACCEPT_PAUSE_S = 0.1

_UCRED = struct.Struct("iII")
"""Linux `struct ucred`: pid, uid, gid."""

logger = structlog.get_logger("api")


class ListenError(Exception):
    """An address cannot be listened on; the text is a sentence for the administrator."""


class HttpServer:
    """Serves one application on sockets that listen already."""

    def __init__(self, app: Starlette) -> None:
        self._conversations = Conversations(app)

    async def run(self, listening: list[socket.socket], limit: int, tls: Tls = None) -> None:
        """Serve until `stop`; requests in progress then have a moment to end. Closes the sockets.

        There are up to `limit` connections at once; `tls` gives the context for each new one.
        """
        places = Places(limit)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for one in listening:
                    accepting.start_soon(self._accept, one, places, tls, connections)
                await self._conversations.wait_stopped()
                accepting.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + GRACE_S

    async def stop(self) -> None:
        """Let all that `run` end. Connections that are idle end at once."""
        await self._conversations.stop()

    async def _accept(self, listening: socket.socket, places: Places, tls: Tls, nursery: trio.Nursery) -> None:
        with trio.socket.from_stdlib_socket(listening) as acceptor:
            while True:
                connection, origin = await _next_connection(acceptor)
                scope = trio.CancelScope()
                place = places.take(origin, partial(_end, connection, scope))
                if place is None:
                    connection.close()
                else:
                    nursery.start_soon(self._serve, connection, scope, tls, places, place)

    async def _serve(
        self, connection: trio.socket.SocketType, scope: trio.CancelScope, tls: Tls, places: Places, place: Place
    ) -> None:
        try:
            state = {PEER_UID: _peer_uid(connection)} if connection.family == socket.AF_UNIX else {}
            with scope:
                await self._conversations.hold(connection, scope, tls() if tls else None, state, place.note)
        except Exception as error:  # noqa: BLE001 - one connection must not end the server
            # The application contains its own faults. This is HTTP that hypercorn did not expect, and strangers can
            # send much of it: a line for those who look, and no traceback.
            logger.debug("a connection failed", error=repr(error))
        finally:
            connection.close()
            places.give_back(place)


def _end(connection: trio.socket.SocketType, scope: trio.CancelScope) -> None:
    """At once, also where hypercorn is about to send and does not want to be disturbed."""
    connection.close()
    scope.cancel()


def listen_tcp(address: str) -> socket.socket:
    """Listen on `HOST:PORT`, where HOST is an address, in brackets for IPv6. Raises `ListenError`."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 and [::] may be listed together
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind((host, int(port)))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ListenError(f"The API cannot listen on {address}: {error.strerror or error}.") from error
    return listening


def listen_unix(path: Path) -> socket.socket:
    """Listen on a Unix socket of mode 0600, from its first moment on. Raises `ListenError`.

    One that is there already goes, unless a process still listens on it.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        _remove_dead(path)
        listening.bind(str(path))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except (OSError, ListenError) as error:
        listening.close()
        if isinstance(error, ListenError):
            raise
        raise ListenError(f"The API's socket {path} cannot be made: {error.strerror or error}.") from error
    finally:
        os.umask(before)
    return listening


def _remove_dead(path: Path) -> None:
    """Remove a socket that nobody listens on. Raises `ListenError` where somebody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        with suppress(FileNotFoundError, ConnectionRefusedError):
            probe.connect(str(path))
            raise ListenError(f"Another process listens on the API's socket {path}.")
    path.unlink(missing_ok=True)


async def _next_connection(acceptor: trio.socket.SocketType) -> tuple[trio.socket.SocketType, str]:
    """The next connection, and whose it is. Without descriptors left, the one that waits is taken later."""
    while True:
        try:
            connection, address = await acceptor.accept()
        except OSError:
            await trio.sleep(ACCEPT_PAUSE_S)
        else:
            return connection, "" if connection.family == socket.AF_UNIX else origin_of(address[0])


def _peer_uid(connection: trio.socket.SocketType) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(credentials)[1]
    return uid
