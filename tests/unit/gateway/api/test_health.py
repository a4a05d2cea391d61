from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from gateway.api import health
from gateway.api.app import PEER_UID
from gateway.api.health import HealthPages
from gateway.control_socket import ControlError
from gateway.store import Store, StoreUnavailableError
from tests.unit.gateway.test_metrics import metrics_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

WATCHERS = "metrics_listen"
SOCKET = "the Unix socket"
API = "the API's address"
"""Where callers come in: at the last one also from this host, as a proxy does for everybody."""
ERROR = {
    "code": "endpoint-down",
    "severity": "error",
    "subject": "two",
    "explanation": "No port.",
    "remedy": "Free it.",
}
WARNING = ERROR | {"code": "expires-soon", "severity": "warning"}


class Watched:
    """A daemon that answers, or does not, and a store."""

    def __init__(self, store: Store) -> None:
        self.answer: dict[str, Any] | None = metrics_document()
        self.store = store
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.pages = HealthPages(self.ask, store)

    def ask(self, request: Mapping[str, Any]) -> Any:
        self.asked += 1
        self.gate.wait()
        if self.answer is None:
            raise ControlError("No gateway answers at /run/x: Connection refused. Is `portway serve` running?")
        assert request["request"] in ("status", "metrics")
        return self.answer

    async def get(self, path: str, door: str = WATCHERS, **headers: str) -> httpx.Response:
        app = Starlette(routes=self.pages.routes(open_to_all=door == WATCHERS))
        transport = httpx.ASGITransport(_on_unix_socket(app) if door == SOCKET else app, client=("127.0.0.1", 40000))
        async with httpx.AsyncClient(transport=transport, base_url="https://gateway") as client:
            return await client.get(path, headers=headers)

    def go_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> int:
            raise StoreUnavailableError("the database does not answer")

        monkeypatch.setattr(self.store, "counter", refuse)


def _on_unix_socket(app: Starlette) -> Any:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": None, "state": {PEER_UID: 0}}, receive, send)

    return wrapped


@pytest.fixture
def watched(store: Store, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(health, "GOOD_FOR_S", 0.0)
    return Watched(store)


async def test_a_gateway_that_is_well_says_so(watched: Watched) -> None:
    for path in ("/healthz", "/readyz"):
        page = await watched.get(path)
        assert (page.status_code, page.json()) == (200, {"status": "ok", "conditions": []})


async def test_a_warning_is_told_and_is_no_failure(watched: Watched) -> None:
    watched.answer = metrics_document(health=[WARNING])
    page = await watched.get("/healthz")
    assert (page.status_code, page.json()["conditions"]) == (200, [WARNING])
    assert (await watched.get("/readyz")).status_code == 200


async def test_an_error_is_a_failure_and_an_endpoint_that_is_down_serves_nobody(watched: Watched) -> None:
    watched.answer = metrics_document(health=[ERROR, WARNING])
    for path in ("/healthz", "/readyz"):
        page = await watched.get(path)
        assert (page.status_code, page.json()["status"], page.json()["conditions"][0]) == (503, "failing", ERROR)


async def test_an_error_of_another_kind_keeps_nobody_out(watched: Watched) -> None:
    watched.answer = metrics_document(health=[ERROR | {"code": "log-sink-failing"}])
    assert [(await watched.get(path)).status_code for path in ("/healthz", "/readyz")] == [503, 200]


async def test_a_daemon_that_does_not_answer_is_a_failure(watched: Watched) -> None:
    watched.answer = None
    for path in ("/healthz", "/readyz"):
        page = await watched.get(path)
        (condition,) = page.json()["conditions"]
        assert (page.status_code, condition["code"]) == (503, "daemon-silent")
        assert "Is `portway serve` running?" in condition["explanation"]
    page = await watched.get("/metrics")
    assert page.status_code == 200
    assert "portway_up 0.0" in page.text


async def test_without_its_store_the_api_is_not_ready(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.go_away(monkeypatch)
    page = await watched.get("/readyz")
    assert (page.status_code, page.json()["conditions"][0]["code"]) == (503, "store-away")


@pytest.mark.parametrize("door", [WATCHERS, SOCKET])
async def test_metrics_are_there_for_whom_they_are_for(watched: Watched, door: str) -> None:
    page = await watched.get("/metrics", door)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/plain")
    assert "portway_up" in {family.name for family in text_string_to_metric_families(page.text)}


async def test_openmetrics_for_who_asks_for_it(watched: Watched) -> None:
    page = await watched.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    assert page.text.endswith("# EOF\n")


async def test_however_many_ask_the_daemon_is_asked_once_in_a_while(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "GOOD_FOR_S", math.inf)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(watched.get, "/healthz", API)
    assert watched.asked == 1


async def test_a_daemon_that_hangs_is_a_failure(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.05)
    watched.gate.clear()
    page = await watched.get("/healthz")
    watched.gate.set()
    assert (page.status_code, page.json()["conditions"][0]["code"]) == (503, "daemon-silent")
    assert page.json()["conditions"][0]["explanation"].startswith("There was no answer within")


async def test_who_comes_by_the_apis_address_learns_whether_it_is_well_and_no_more(watched: Watched) -> None:
    watched.answer = metrics_document(health=[ERROR])
    assert (await watched.get("/metrics", API)).status_code == 403
    for path in ("/healthz", "/readyz"):
        page = await watched.get(path, API)
        assert (page.status_code, page.json()) == (503, {"status": "failing"})


async def test_on_the_unix_socket_everything_is_told(watched: Watched) -> None:
    watched.answer = metrics_document(health=[ERROR])
    assert (await watched.get("/healthz", SOCKET)).json()["conditions"] == [ERROR]
