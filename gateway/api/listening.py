"""Sockets and the connections on them: how many there may be, how long they may take, and who is at the other end.

hypercorn speaks HTTP on each connection; it is handed the streams one by one, so that their number has a bound, writing
has a deadline, and the peer of a Unix socket is known. Must not know what is asked.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HttpConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from gateway.api.app import PEER_UID

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from starlette.applications import Starlette
    from starlette.types import Message, Receive, Scope, Send

    Tls = Callable[[], ssl.SSLContext] | None

__all__ = ["HttpServer", "ListenError", "listen_tcp", "listen_unix"]

CONNECTIONS = 512
"""At once, on all addresses together; more wait in the kernel's queue."""
SOCKET_CONNECTIONS = 64
BACKLOG = 1024
HANDSHAKE_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 15.0
"""Between requests, and for the head of one to arrive."""
QUIET_TIMEOUT_S = 120.0
"""Without an octet either way, whatever the state of HTTP is; longer than any call may take."""
REQUEST_TIMEOUT_S = 180.0
"""From the head of a request to the end of its answer, also where HTTP/2's flow control lets nothing pass."""
WRITE_TIMEOUT_S = 30.0
"""For a client to take one piece of a reply."""
GRACE_S = 5.0
"""How long requests in progress may take when the server ends."""
ACCEPT_PAUSE_S = 0.1
REQUESTS_PER_CONNECTION = 1000
STREAMS_PER_CONNECTION = 16
PIECES_PER_STREAM = 1
"""Of a body, of up to 64 KB each, that wait to be read; strangers may have all streams of all connections wait."""
HEADER_BYTES = 64 * 1024
"""Of all headers of a request together; a presigned address may be long."""

_UCRED = struct.Struct("iII")
"""Linux `struct ucred`: pid, uid, gid."""

logger = structlog.get_logger("api")


class ListenError(Exception):
    """An address cannot be listened on; the text is a sentence for the administrator."""


class HttpServer:
    """Serves one application on sockets that listen already."""

    def __init__(self, app: Starlette) -> None:
        self._app = ASGIWrapper(cast("Any", _Bounded(app)))
        self._config = _http_config()
        self._context = WorkerContext(None)

    async def run(self, listening: list[socket.socket], limit: int, tls: Tls = None) -> None:
        """Serve until `stop`; requests in progress then have a moment to end. Closes the sockets.

        `tls` gives the context for each new connection.
        """
        slots = trio.CapacityLimiter(limit)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for one in listening:
                    accepting.start_soon(self._accept, one, slots, tls, connections)
                await self._context.terminated.wait()
                accepting.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + GRACE_S

    async def stop(self) -> None:
        """Let all that `run` end. Connections that are idle end at once."""
        await self._context.terminated.set()

    async def _accept(
        self,
        listening: socket.socket,
        slots: trio.CapacityLimiter,
        tls: Tls,
        nursery: trio.Nursery,
    ) -> None:
        with trio.socket.from_stdlib_socket(listening) as acceptor:
            while True:
                await slots.acquire_on_behalf_of(token := object())
                connection = await _next_connection(acceptor)
                nursery.start_soon(self._serve, connection, tls, slots, token)

    async def _serve(
        self,
        connection: trio.socket.SocketType,
        tls: Tls,
        slots: trio.CapacityLimiter,
        token: object,
    ) -> None:
        try:
            state = ConnectionState({PEER_UID: _peer_uid(connection)} if connection.family == socket.AF_UNIX else {})
            with trio.CancelScope() as scope:
                plain = _PatientStream(connection, scope)
                stream = trio.SSLStream(plain, tls(), server_side=True, https_compatible=True) if tls else plain
                # hypercorn's types say TLS; it takes plain streams as well.
                await _Conversation(self._app, self._config, self._context, state, cast("Any", stream))
        except Exception as error:  # noqa: BLE001 - one connection must not end the server
            # The application contains its own faults. This is HTTP that hypercorn did not expect, and strangers can
            # send much of it: a line for those who look, and no traceback.
            logger.debug("a connection failed", error=repr(error))
        finally:
            connection.close()
            slots.release_on_behalf_of(token)


class _Bounded:
    """The application, with an end to each request, however its client behaves.

    What of a body arrives when the answer has begun is discarded: hypercorn hands the octets of a connection on one
    after the other, and would wait for ever for an application that does not take them any more.
    """

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def discard() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def send_and_discard(message: Message) -> None:
            if message["type"] == "http.response.start":
                nursery.start_soon(discard)
            await send(message)

        with trio.move_on_after(REQUEST_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                await self._app(scope, receive, send_and_discard)
                nursery.cancel_scope.cancel()


class _Conversation(TCPServer):
    """hypercorn's side of a connection. It gives its place back when its client has closed it."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()  # else hypercorn waits for the next request on it until the idle time is over


class _PatientStream(trio.abc.HalfCloseableStream):
    """A stream whose other end may be slow, but not for ever: a scope ends when nothing has passed for too long."""

    def __init__(self, connection: trio.socket.SocketType, scope: trio.CancelScope) -> None:
        self.socket = connection
        self._stream = trio.SocketStream(connection)
        self._scope = scope
        self._note_life()

    def _note_life(self) -> None:
        self._scope.deadline = trio.current_time() + QUIET_TIMEOUT_S

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            with trio.fail_after(WRITE_TIMEOUT_S):
                await self._stream.send_all(data)
            self._note_life()
        except trio.TooSlowError as error:
            raise trio.BrokenResourceError("the client does not read") from error

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        received = await self._stream.receive_some(max_bytes)
        if received:
            self._note_life()
        return received

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


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


async def _next_connection(acceptor: trio.socket.SocketType) -> trio.socket.SocketType:
    """The next connection. Where the process has no descriptors left, the one that waits is taken later."""
    while True:
        try:
            connection, _ = await acceptor.accept()
        except OSError:
            await trio.sleep(ACCEPT_PAUSE_S)
        else:
            return connection


def _peer_uid(connection: trio.socket.SocketType) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(credentials)[1]
    return uid


def _http_config() -> HttpConfig:
    config = HttpConfig()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = HEADER_BYTES
    config.h2_max_header_list_size = HEADER_BYTES
    config.h2_max_concurrent_streams = STREAMS_PER_CONNECTION
    config.max_app_queue_size = PIECES_PER_STREAM
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION
    config.keep_alive_timeout = IDLE_TIMEOUT_S
    config.ssl_handshake_timeout = HANDSHAKE_TIMEOUT_S
    config.graceful_timeout = GRACE_S
    return config
