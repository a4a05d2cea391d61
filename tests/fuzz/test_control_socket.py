"""The control socket's requests: lines that are no JSON, and JSON that is no request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog.testing
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.control_requests import ControlRequests
from gateway.control_socket import ControlServer
from tests.fuzz.strategies import damaged, texts
from tests.unit.gateway.daemon_facts import daemon_facts
from tests.unit.gateway.world import RecordingLog, World

if TYPE_CHECKING:
    from collections.abc import Mapping

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts(), st.just("\ud800"), st.just("10.20.0.9")),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts(), inner, max_size=4)),
    max_leaves=8,
)
keys = st.sampled_from(["id", "user", "groups", "endpoint", "destination", "port", "protocol", "x"])
kinds = st.one_of(st.sampled_from(["status", "connections", "terminate", "explain"]), values)
requests = st.builds(lambda kind, rest: {"request": kind, **rest}, kinds, st.dictionaries(keys, values, max_size=5))
questions = st.fixed_dictionaries(
    {
        "request": st.just("explain"),
        "groups": st.lists(texts(), max_size=3),
        "destination": st.ip_addresses(v=4).map(str),
        "port": st.one_of(st.none(), st.integers(0, 65535)),
        "protocol": st.one_of(st.none(), st.sampled_from(["tcp", "udp", "icmp"]), texts()),
    }
)


class OneEndpoint:
    """A fleet of one endpoint with one client."""

    def __init__(self) -> None:
        world = World()
        world.connect()
        self.endpoints = (world.endpoint,)
        self.down: Mapping[str, str] = {}


async def never_reload() -> tuple[str, ...]:
    return ()


def server() -> ControlServer:
    fleet: Any = OneEndpoint()
    return ControlServer(Path("/nowhere"), ControlRequests(fleet, RecordingLog(), never_reload, daemon_facts).handle)


def ask(daemon: ControlServer, line: bytes) -> Mapping[str, Any]:
    """The answer, which JSON can hold; without a fault in the daemon's log."""
    with structlog.testing.capture_logs() as logs:
        answer = trio.run(daemon._answer, line)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    decoded: Mapping[str, Any] = json.loads(json.dumps(answer))
    assert set(decoded) in ({"result"}, {"error"})
    return decoded


@given(
    line=st.one_of(st.binary(max_size=300), texts().map(str.encode), damaged(b'{"request": "terminate", "user": "x"}'))
)
def test_any_line_gets_an_answer(line: bytes) -> None:
    """A line is answered with a result or a sentence, and no fault of the daemon is in its log."""
    ask(DAEMON, line)


@given(request=requests)
def test_any_json_gets_an_answer(request: Mapping[str, Any]) -> None:
    """JSON of any shape under the keys of requests is answered, and a session ends only where its name was given."""
    ask(DAEMON, json.dumps(request).encode())


@given(question=questions)
def test_any_question_about_a_packet_is_answered(question: Mapping[str, Any]) -> None:
    """Well-formed questions with any groups, address, port and protocol are answered, and the answer can be read."""
    answer = ask(DAEMON, json.dumps(question).encode())
    if "result" in answer:
        assert answer["result"]["text"]


def test_deep_nesting_is_refused_without_a_fault() -> None:
    line = b'{"request": "terminate", "id": ' + b"[" * 900 + b"]" * 900 + b"}"
    assert "error" in ask(DAEMON, line)


DAEMON = server()
