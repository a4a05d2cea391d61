"""The daemon's Unix socket: one request and one answer, a line of JSON each.

    {"request": "terminate", "id": "cvpn-connection-…"}      ▶  {"result": …}  or  {"error": "a sentence"}

It owns the transport: who may speak (root and the daemon's own user, by SO_PEERCRED), how much and how long. What
requests mean is `control_requests`' work.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

__all__ = ["ControlError", "ControlServer", "ask"]

REQUEST_BYTES = 64 * 1024
"""The longest request; the longest that the CLI sends is a few hundred octets."""
REQUEST_TIMEOUT_S = 5.0
"""For the request to arrive, and for the answer to be taken."""
ANSWER_TIMEOUT_S = 60.0
"""How long the CLI waits: a reload reads files and moves the host's network."""
CONNECTIONS = 16
"""At once; more wait in the kernel's queue."""
BACKLOG = 128
ACCEPT_PAUSE_S = 0.1

PeerCredentials = struct.Struct("iII")
"""Linux `struct ucred`: pid, uid, gid."""

logger = structlog.get_logger("control")


class ControlError(Exception):
    """A request cannot be fulfilled, or the socket not be used; the text is for the person who asked."""


class ControlServer:
    """Listens on the control socket."""

    def __init__(self, path: Path, handle: Callable[[Mapping[str, Any]], Awaitable[Any]]) -> None:
        """`handle` takes a request and gives what JSON can hold, or raises `ControlError`."""
        self._path = path
        self._handle = handle
        self._allowed = {0, os.geteuid()}
        self._limit = trio.CapacityLimiter(CONNECTIONS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, and remove the socket then. `ControlError` where it cannot be made."""
        listening = _listen(self._path)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    await self._limit.acquire_on_behalf_of(token := object())
                    stream = await _accept(listening)
                    nursery.start_soon(self._serve, stream, token)
        finally:
            listening.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, stream: trio.SocketStream, token: object) -> None:
        try:
            async with stream:
                with contextlib.suppress(trio.TooSlowError, trio.BrokenResourceError):
                    await self._converse(stream)
        except Exception:
            logger.exception("a request on the control socket failed")
        finally:
            self._limit.release_on_behalf_of(token)

    async def _converse(self, stream: trio.SocketStream) -> None:
        with trio.fail_after(REQUEST_TIMEOUT_S):
            line = await _receive_line(stream)
        if _peer_uid(stream.socket) in self._allowed:
            answer = await self._answer(line)
        else:
            answer = {"error": "Only root and the gateway's own user may use this socket."}
        with trio.fail_after(REQUEST_TIMEOUT_S):
            await stream.send_all(json.dumps(answer).encode() + b"\n")

    async def _answer(self, line: bytes) -> Mapping[str, Any]:
        if len(line) > REQUEST_BYTES:
            return {"error": f"the request is longer than {REQUEST_BYTES} octets"}
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):  # bad JSON, bad UTF-8, or brackets without end
            return {"error": "the request is not JSON"}
        if not isinstance(request, dict):
            return {"error": "the request is not a JSON object"}
        try:
            return {"result": await self._handle(request)}
        except ControlError as error:
            return {"error": str(error)}
        except Exception:  # one request must not end the daemon
            logger.exception("control request failed", request=request.get("request"))
            return {"error": "the gateway failed at this request; its log says how"}


def ask(path: Path, request: Mapping[str, Any]) -> Any:
    """Send a request to the daemon, from outside of it, and give the result. Raises `ControlError`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
    except PermissionError as error:
        raise ControlError(f"{path} is for root and the gateway's own user: run this as one of them.") from error
    except OSError as error:
        reason = error.strerror or error
        raise ControlError(f"No gateway answers at {path}: {reason}. Is `portway serve` running?") from error
    if not line:
        raise ControlError(f"The gateway at {path} closed the connection without an answer.")
    answer = json.loads(line)
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer["result"]


def _listen(path: Path) -> trio.socket.SocketType:
    """A socket that nobody else can have connected to: the mask holds from its first moment."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ControlError(f"the control socket {path} cannot be made: {error.strerror or error}") from error
    finally:
        os.umask(before)
    return trio.socket.from_stdlib_socket(listening)


async def _accept(listening: trio.socket.SocketType) -> trio.SocketStream:
    """The next connection. Where the process has no descriptors left, the one that waits is taken later."""
    while True:
        try:
            connection, _ = await listening.accept()
        except OSError:
            await trio.sleep(ACCEPT_PAUSE_S)
        else:
            return trio.SocketStream(connection)


async def _receive_line(stream: trio.SocketStream) -> bytes:
    """Everything up to the first newline, the end, or the limit."""
    received = bytearray()
    async for piece in stream:
        received += piece
        if b"\n" in piece or len(received) > REQUEST_BYTES:
            break
    return bytes(received[: REQUEST_BYTES + 1])


def _peer_uid(connection: trio.socket.SocketType) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PeerCredentials.size)
    uid: int = PeerCredentials.unpack(credentials)[1]
    return uid
