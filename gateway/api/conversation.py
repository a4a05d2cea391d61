"""HTTP on one connection: hypercorn's, with an end to everything that a client may draw out.

    handshake ▶ ( head ▶ body, answer )…      each with a deadline, whoever is slow

HTTP/1.1 is all that is spoken: whoever asks for WebSocket or HTTP/2 is answered as if he had not, so that a connection
is one request at a time. Must not know what is asked, nor how many connections there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HttpConfig
from hypercorn.events import Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from hypercorn.events import Event
    from starlette.applications import Starlette
    from starlette.types import Message, Receive, Scope, Send

__all__ = ["Conversations"]

HANDSHAKE_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 15.0
"""Between requests, and for the head of one to arrive."""
QUIET_TIMEOUT_S = 120.0
"""Without an octet either way, whatever the state of HTTP is; longer than any call may take."""
REQUEST_TIMEOUT_S = 180.0
"""From the head of a request to the end of its answer."""
WRITE_TIMEOUT_S = 30.0
"""For a client to take one piece of a reply."""
REQUESTS_PER_CONNECTION = 1000
PIECES_PER_STREAM = 1
"""Of a body, of up to 64 KB each, that wait to be read; strangers may have all connections wait."""
HEADER_BYTES = 64 * 1024
"""Of all headers of a request together; a presigned address may be long."""


class Conversations:
    """What one application has to say on all connections."""

    def __init__(self, app: Starlette) -> None:
        self._app = _bounded(app)
        self._config = _http_config()
        self._context = WorkerContext(None)

    async def wait_stopped(self) -> None:
        """Return when no more connections are to be taken."""
        await self._context.terminated.wait()

    async def stop(self) -> None:
        """Let all of them end: at once where nothing is asked, else with the next answer."""
        await self._context.terminated.set()

    async def hold(
        self,
        connection: trio.socket.SocketType,
        scope: trio.CancelScope,
        tls: ssl.SSLContext | None,
        state: dict[str, Any],
        note: Callable[[bool], None],
    ) -> None:
        """Hold one, inside `scope`, which ends it where it is quiet for too long; may raise whatever comes up.

        `state` is what is known of the client; `note` is told when a request begins, and when none goes on.
        """
        plain = _PatientStream(connection, scope)
        if tls is None:
            await _Conversation(self._app, self._config, self._context, state, plain, note=note).run()
            return
        stream = trio.SSLStream(plain, tls, server_side=True, https_compatible=True)
        with trio.fail_after(HANDSHAKE_TIMEOUT_S):
            await stream.do_handshake()
        await _Conversation(self._app, self._config, self._context, state, stream, note=note).run()


class _MixedFramingError(Exception):
    """A request gives its length in two ways: a proxy on the way may have seen another end of it."""


class _Conversation(TCPServer):
    """A connection, from the end of the handshake to its own."""

    def __init__(
        self,
        app: ASGIWrapper,
        config: HttpConfig,
        context: WorkerContext,
        state: dict[str, Any],
        stream: _PatientStream | trio.SSLStream[_PatientStream],
        *,
        note: Callable[[bool], None],
    ) -> None:
        # hypercorn's types say TLS over a socket's stream; it takes others as well.
        super().__init__(app, config, context, ConnectionState(state), cast("Any", stream))
        self._note = note
        self._is_tls = isinstance(stream, trio.SSLStream)
        self._socket = stream.transport_stream.socket if isinstance(stream, trio.SSLStream) else stream.socket

    async def run(self) -> None:
        """Answer requests until either end closes the connection."""
        try:
            family = self._socket.family
            async with TaskGroup() as task_group:
                self._task_group = task_group
                self.protocol = cast(
                    "Any",
                    _Http(
                        self.app,
                        self.config,
                        self.context,
                        cast("Any", task_group),
                        ConnectionState(self.state),
                        self._is_tls,
                        parse_socket_addr(family, self._socket.getpeername()),
                        parse_socket_addr(family, self._socket.getsockname()),
                        self.protocol_send,
                    ),
                )
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
                await self.idle_task.stop()  # else it has its place until the idle time is over
        except OSError:
            pass
        finally:
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        """Send what hypercorn has to say."""
        if isinstance(event, Updated):
            self._note(not event.idle)
        await super().protocol_send(event)


class _Http(H11Protocol):
    """hypercorn's side of HTTP/1.1, without ways out of it."""

    async def _check_protocol(self, event: h11.Request) -> None:
        names = {name for name, _ in event.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            await self._send_error_response(400)
            raise _MixedFramingError

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        plain = h11.Request(
            method=request.method, target=request.target, headers=headers, http_version=request.http_version
        )
        await super()._create_stream(plain)


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


def _bounded(app: Starlette) -> ASGIWrapper:
    """The application, with an end to each request, however its client behaves.

    What of a body arrives when the answer has begun is discarded: hypercorn hands the octets of a connection on one
    after the other, and would wait for ever for an application that does not take them any more.
    """

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        async def discard() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async def send_and_discard(message: Message) -> None:
            if message["type"] == "http.response.start":
                nursery.start_soon(discard)
            await send(message)

        with trio.move_on_after(REQUEST_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                await app(scope, receive, send_and_discard)
                nursery.cancel_scope.cancel()

    return ASGIWrapper(cast("Any", bounded))


def _http_config() -> HttpConfig:
    """What hypercorn is to hold to."""
    config = HttpConfig()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = HEADER_BYTES
    config.max_app_queue_size = PIECES_PER_STREAM
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION
    config.keep_alive_timeout = IDLE_TIMEOUT_S
    return config
