"""What watches the gateway asks here: `/healthz`, `/readyz` and `/metrics`, beside the API.

    /healthz    200 as long as nothing is wrong that is an error, else 503; what is wrong, as JSON
    /readyz     200 where clients are let in and calls are answered: the daemon, all endpoints, the store; else 503
    /metrics    Prometheus' text format, or OpenMetrics for who asks for that

They need no access key. Who is told what depends on the door, and not on where he seems to come from, since behind a
proxy everybody comes from there: at `metrics_listen` and on the Unix socket there is everything, at the API's own
addresses a status code and no more. All of it is asked of the daemon, over its control socket.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio
from prometheus_client.exposition import choose_encoder
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.api.app import PEER_UID
from gateway.control_socket import ControlError
from gateway.metrics import build_registry
from gateway.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from gateway.store import Store

__all__ = ["HealthPages"]

ASKED_AT_ONCE: Final = 2
"""Threads that wait for the daemon or the store."""
GOOD_FOR_S: Final = 1.0
"""How long an answer is good for: however many strangers ask, the daemon is asked once a second."""
PATIENCE_S: Final = 10.0
"""How long an answer may take; Prometheus itself waits as long."""
_SILENT: Final = {
    "code": "daemon-silent",
    "severity": "error",
    "subject": "",
    "remedy": "Start `portway serve`, or look at its log.",
}
_STORE_AWAY: Final = {
    "code": "store-away",
    "severity": "error",
    "subject": "store",
    "remedy": "Start the database or mend the way to it.",
}


class HealthPages:
    """Answers who watches."""

    def __init__(self, ask_daemon: Callable[[Mapping[str, Any]], Any], store: Store) -> None:
        """`ask_daemon` blocks and raises `ControlError`."""
        self._ask_daemon = ask_daemon
        self._store = store
        self._turns = trio.CapacityLimiter(ASKED_AT_ONCE)
        self._finding_out: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        self._answers: dict[str, tuple[float, Any]] = {}

    def routes(self, *, open_to_all: bool = False) -> list[Route]:
        """Where they are; with `open_to_all`, for a door at which whoever gets there is told everything."""
        return [
            Route("/healthz", partial(self._healthz, open_to_all)),
            Route("/readyz", partial(self._readyz, open_to_all)),
            Route("/metrics", partial(self._metrics, open_to_all)),
        ]

    async def _healthz(self, open_to_all: bool, request: Request) -> Response:
        """Whether anything is wrong."""
        status = await self._ask("status")
        found = [_silent(status)] if isinstance(status, str) else status["health"]
        is_well = all(condition["severity"] != "error" for condition in found)
        return _page(found, is_well=is_well, in_full=open_to_all or _is_local(request))

    async def _readyz(self, open_to_all: bool, request: Request) -> Response:
        """Whether clients and callers are served."""
        status = await self._ask("status")
        if isinstance(status, str):
            found = [_silent(status)]
        else:
            found = [condition for condition in status["health"] if condition["code"] == "endpoint-down"]
        if problem := await self._remembered("store", self._store_problem):
            found.append(_STORE_AWAY | {"explanation": problem})
        return _page(found, is_well=not found, in_full=open_to_all or _is_local(request))

    async def _metrics(self, open_to_all: bool, request: Request) -> Response:
        """Everything that is counted."""
        if not open_to_all and not _is_local(request):
            return PlainTextResponse("Metrics are at metrics_listen, and on the Unix socket.\n", 403)
        document = await self._ask("metrics")
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        registry = build_registry(None if isinstance(document, str) else document)
        return Response(encode(registry), media_type=content_type)

    async def _ask(self, request: str) -> Any:
        """What the daemon answers, or the sentence that says why it does not."""
        return await self._remembered(request, partial(self._ask_or_say_why_not, request))

    async def _remembered(self, key: str, find_out: Callable[[], Any]) -> Any:
        """What `find_out` has said lately, or says now, in a thread; a sentence where that takes too long."""
        async with self._finding_out[key]:
            moment, answer = self._answers.get(key, (-math.inf, None))
            if trio.current_time() - moment < GOOD_FOR_S:
                return answer
            answer = f"There was no answer within {PATIENCE_S:.0f} s."
            with trio.move_on_after(PATIENCE_S):
                answer = await trio.to_thread.run_sync(find_out, limiter=self._turns, abandon_on_cancel=True)
            self._answers[key] = trio.current_time(), answer
            return answer

    # In a thread

    def _ask_or_say_why_not(self, request: str) -> Any:
        try:
            return self._ask_daemon({"request": request})
        except ControlError as error:
            return str(error)

    def _store_problem(self) -> str | None:
        try:
            self._store.counter()
        except StoreError as error:
            return str(error)
        return None


def _page(found: Sequence[Mapping[str, str]], *, is_well: bool, in_full: bool) -> Response:
    answer: dict[str, Any] = {"status": "ok" if is_well else "failing"}
    if in_full:
        answer["conditions"] = list(found)
    return JSONResponse(answer, 200 if is_well else 503, {"cache-control": "no-store"})


def _is_local(request: Request) -> bool:
    """Whether the caller was let in to the Unix socket."""
    return PEER_UID in request.scope.get("state", {})


def _silent(why: str) -> dict[str, str]:
    return _SILENT | {"explanation": why}
