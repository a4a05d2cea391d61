"""The API as an ASGI application: from HTTP to calls, and from what comes of them to HTTP.

    body, bounded in size and time ▶ who? ▶ fields ▶ dispatcher ▶ XML

Whoever calls waits for a thread: callers who change something among themselves, so that they hold up nobody who only
reads. Must not know sockets, nor what actions do.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from gateway.actions import ActionError
from gateway.api.callers import socket_caller
from gateway.api.dispatch import Request as Call
from gateway.api.parsing import parse_fields_untrusted
from gateway.api.places import Turns, origin_of
from gateway.api.serializing import XML, build_error
from gateway.api.service_model import EC2_VERSION, load_services
from gateway.api.signature import SignedRequest, guess_service_untrusted
from gateway.store import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from botocore.model import ServiceModel
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from gateway.api.callers import Callers
    from gateway.api.dispatch import Dispatcher

__all__ = ["PEER_UID", "Api", "build_app"]

PEER_UID = "peer_uid"
"""In the ASGI scope's `state`: whose process is at the other end of a Unix socket; missing for other connections."""

MAX_BODY = 2 * 1024 * 1024
"""A revocation list with AWS's 20,000 entries, in base64 and then in a form, has 1.6 MB."""
MOST_DISCARDED = 8 * 1024 * 1024
SMALL_BODY = 64 * 1024
LARGE_BODIES = 16
"""How many requests with larger ones may be in memory at once; others wait."""
LARGE_BODIES_EACH = 4
"""Of these, from one origin: who sends slowly keeps nobody else waiting."""
BODY_TIMEOUT_S = 20.0
TURN_TIMEOUT_S = 30.0
"""How long a call may wait for its turn."""
READERS = 8
WRITERS = 2
"""One that writes, and one that is ready to; more would wait in the database."""

logger = structlog.get_logger("api")

_T = TypeVar("_T")


@dataclass(slots=True)
class _Context:
    """What an error's form depends on, as far as that is known; callers of any service understand EC2's."""

    request_id: str
    is_ec2: bool = True


class Api:
    """Answers requests for the path `/`."""

    def __init__(self, callers: Callers, dispatcher: Dispatcher) -> None:
        self._callers = callers
        self._dispatcher = dispatcher
        self._services = load_services()
        self._speaks_ec2 = {one.service_name: one.protocol == "ec2" for one in self._services.values()}
        self._large_bodies = Turns(LARGE_BODIES, LARGE_BODIES_EACH)
        self._readers = trio.CapacityLimiter(READERS)
        self._writers = trio.CapacityLimiter(WRITERS)

    async def answer(self, request: Request) -> Response:
        """Answer a request, whatever it is."""
        context = _Context(str(uuid.uuid4()))
        try:
            async with self._room_for_body(request) as limit:
                signed = await _receive(request, limit)
                return _response(200, await self._call(request, signed, context))
        except ActionError as error:
            return _refusal(error, context)
        except StoreError as error:
            logger.error("the store is away", request_id=context.request_id, error=str(error))  # noqa: TRY400 - its sentence is enough
            sentence = "The database does not answer. Try again later."
            return _refusal(ActionError("ServiceUnavailable", sentence, 503), context)
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody will see
        except Exception:
            logger.exception("a call failed", request_id=context.request_id)
            sentence = "An internal error has occurred. The API's log has it, under this request's id."
            return _refusal(ActionError("InternalError", sentence, 500), context)

    @asynccontextmanager
    async def _room_for_body(self, request: Request) -> AsyncIterator[int]:
        """Give the most that the body may have: little, or all that bodies may have, of which there is not much."""
        length = request.headers.get("content-length", "0" if request.method == "GET" else "")
        if length.isdecimal() and len(length) < 10 and int(length) <= SMALL_BODY:
            yield SMALL_BODY
            return
        try:
            async with self._large_bodies.turn(origin_of(_source(request)), patience_s=TURN_TIMEOUT_S):
                yield MAX_BODY
        except trio.TooSlowError as error:
            raise _too_many() from error

    async def _call(self, request: Request, signed: SignedRequest, context: _Context) -> bytes:
        def begin() -> bytes | Call:
            call = self._understand(request, signed, context)
            return call if self._dispatcher.changes(call.action) else self._dispatcher.carry_out(call)

        begun = await _in_thread(begin, self._readers)  # who is nobody must not wait among those who write
        if isinstance(begun, bytes):
            return begun
        return await _in_thread(partial(self._dispatcher.carry_out, begun), self._writers)

    def _understand(self, request: Request, signed: SignedRequest, context: _Context) -> Call:
        """The call, with who calls: a form may take a second to read, so nobody's is. Raises `ActionError`."""
        uid = request.scope.get("state", {}).get(PEER_UID)
        if uid is not None:
            service, fields = self._read_form(signed, context)
            return Call(service, fields["Action"], fields, socket_caller(uid), context.request_id)
        context.is_ec2 = self._speaks_ec2.get(guess_service_untrusted(signed), True)
        caller, claim = self._callers.identify(signed, _source(request))
        service, fields = self._read_form(signed, context)
        if claim.service != service.service_name:
            message = f"The credential is for {claim.service}; this action is one of {service.service_name}."
            raise ActionError("SignatureDoesNotMatch", message, 403)
        return Call(service, fields["Action"], fields, caller, context.request_id, claim.signature, claim.expires_at)

    def _read_form(self, signed: SignedRequest, context: _Context) -> tuple[ServiceModel, dict[str, str]]:
        query = signed.query.encode("latin-1")
        fields = parse_fields_untrusted(b"&".join(part for part in (query, signed.body) if part))
        version = fields.get("Version", EC2_VERSION)
        service = self._services.get(version)
        if service is None:
            known = ", ".join(self._services)
            raise ActionError("InvalidAction", f"There is no version {version[:40]} here. Versions are {known}.")
        context.is_ec2 = service.protocol == "ec2"
        if "Action" not in fields:
            raise ActionError("MissingAction", "The request must contain the parameter Action.")
        return service, fields


def build_app(api: Api, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """Make the application, with further routes beside the API's."""

    async def refuse(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        code = "InvalidMethod" if status == 405 else "NotFound"
        return _refusal(
            ActionError(code, "The API is at the path /, by GET and POST.", status), _Context(str(uuid.uuid4()))
        )

    own = Route("/", api.answer, methods=["GET", "POST"])
    return Starlette(routes=[own, *routes], exception_handlers={HTTPException: refuse})


def _source(request: Request) -> str:
    """The address that a request comes from; empty on a Unix socket."""
    return request.client.host if request.client else ""


async def _receive(request: Request, limit: int) -> SignedRequest:
    with trio.move_on_after(BODY_TIMEOUT_S) as timeout:
        body = await _read_body(request, limit)
    if timeout.cancelled_caught:
        raise ActionError("RequestTimeout", f"The request did not arrive within {BODY_TIMEOUT_S:.0f} s.", 408)
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
    return SignedRequest(request.method, request.scope["query_string"].decode("latin-1"), headers, body)


async def _read_body(request: Request, limit: int) -> bytes:
    """Collect the body. What is too much is taken and forgotten, since who still sends does not hear an answer."""
    body, length = bytearray(), 0
    async for piece in request.stream():
        length += len(piece)
        if length <= limit:
            body += piece
        elif length > MOST_DISCARDED:
            break
    if length > limit:
        raise ActionError("RequestEntityTooLarge", f"The body is longer than {limit} octets.", 413)
    return bytes(body)


async def _in_thread(work: Callable[[], _T], limiter: trio.CapacityLimiter) -> _T:
    """Run what blocks; a call whose turn has not come in time is refused, one that has begun is finished."""
    with trio.move_on_after(TURN_TIMEOUT_S):
        return await trio.to_thread.run_sync(work, limiter=limiter)
    raise _too_many()


def _too_many() -> ActionError:
    return ActionError("RequestLimitExceeded", "There are too many calls at once. Try again later.", 503)


def _refusal(error: ActionError, context: _Context) -> Response:
    body = build_error(error.code, error.message, context.request_id, status=error.status, is_ec2=context.is_ec2)
    return _response(error.status, body)


def _response(status: int, body: bytes) -> Response:
    headers = {"content-type": XML, "cache-control": "no-store"}
    return Response(body, status_code=status, headers=headers)
