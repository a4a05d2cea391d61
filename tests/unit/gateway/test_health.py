from __future__ import annotations

from typing import Any

import pytest

from gateway.health import REMEDIES, Code, Severity, conditions
from tests.unit.gateway.daemon_facts import daemon_facts


def status(**changes: Any) -> dict[str, Any]:
    return daemon_facts() | {"endpoints": [endpoint()], "down": {}, **logs()} | changes


def logs() -> dict[str, Any]:
    return {"connection_log": [sink()], "log_groups": ["default"]}


def endpoint(**changes: Any) -> dict[str, Any]:
    return {
        "name": "main",
        "connection_log": {"group": "default", "stream": ""},
        "pool": {"network": "10.80.0.0/29", "used": 3, "capacity": 5},
        "half_open": {"now": 0, "limit": 1000},
        "plane": {"udp_gso_refused": False},
        "expiries": [expiry("none")],
    } | changes


def expiry(urgency: str) -> dict[str, Any]:
    ends = "2026-06-03T12:00:00+00:00"
    return {"what": "revocation list (CN=ca)", "ends": ends, "days_left": 2, "urgency": urgency}


def pool(used: int) -> dict[str, Any]:
    return endpoint(pool={"network": "10.80.0.0/24", "used": used, "capacity": 100})


def sink(**changes: Any) -> dict[str, Any]:
    return {"sink": "file /var/log/x", "queued": 0, "lost": 0, "failing": None} | changes


def managed(**changes: Any) -> dict[str, Any]:
    return {**daemon_facts()["managed"], **changes}


def mirror(**changes: Any) -> dict[str, Any]:
    return managed(mirror=daemon_facts()["managed"]["mirror"] | changes)


UNWELL = [
    (Code.ENDPOINT_DOWN, Severity.ERROR, "two", status(down={"two": "endpoint two: port 443 is taken"})),
    (Code.TUNNEL_CLOSED, Severity.ERROR, "main", status(closed=["main"])),
    (Code.HOST_NETWORK, Severity.WARNING, "", status(host_problems=["eth1 is not there"])),
    (Code.EXPIRED, Severity.ERROR, "main", status(endpoints=[endpoint(expiries=[expiry("expired")])])),
    (Code.EXPIRES_SOON, Severity.WARNING, "main", status(endpoints=[endpoint(expiries=[expiry("soon")])])),
    (Code.POOL_EXHAUSTED, Severity.ERROR, "main", status(endpoints=[pool(100)])),
    (Code.POOL_NEARLY_USED, Severity.WARNING, "main", status(endpoints=[pool(90)])),
    (
        Code.HANDSHAKES_AT_LIMIT,
        Severity.WARNING,
        "main",
        status(endpoints=[endpoint(half_open={"now": 950, "limit": 1000})]),
    ),
    (
        Code.OFFLOAD_REFUSED,
        Severity.WARNING,
        "main",
        status(endpoints=[endpoint(plane={"udp_gso_refused": True})]),
    ),
    (
        Code.LOG_GROUP_UNKNOWN,
        Severity.WARNING,
        "main",
        status(endpoints=[endpoint(connection_log={"group": "gone", "stream": ""})]),
    ),
    (Code.PLANE_FALLBACK, Severity.WARNING, "", status(plane={"name": "python", "reason": "it is not compiled"})),
    (
        Code.RELOAD_REFUSED,
        Severity.WARNING,
        "",
        status(last_reload={"at": "…", "result": "refused", "sentences": ["line 3 is wrong"]}),
    ),
    (
        Code.LOG_SINK_FAILING,
        Severity.ERROR,
        "file /var/log/x",
        status(connection_log=[sink(failing="No space left on device")]),
    ),
    (Code.RECORDS_LOST, Severity.WARNING, "file /var/log/x", status(connection_log=[sink(lost=3)])),
    (Code.RECORDS_LOST, Severity.WARNING, "store", status(managed=mirror(lost={"events": 2, "connections": 0}))),
    (Code.STORE_AWAY, Severity.ERROR, "store", status(managed=managed(problem="the database does not answer"))),
    (
        Code.LAST_KNOWN_UNKEPT,
        Severity.WARNING,
        "store",
        status(managed=managed(last_known={"problem": "No space left on device.", "as_of": None})),
    ),
    (Code.STORE_BEHIND, Severity.WARNING, "store", status(managed=mirror(waiting=7, failing="disk full"))),
    (
        Code.OBJECT_FAILED,
        Severity.WARNING,
        "cvpn-endpoint-1",
        status(managed=managed(endpoints={"cvpn-endpoint-1": ["subnet-1: eth9 is not there"]})),
    ),
]


@pytest.mark.parametrize(("code", "severity", "subject", "document"), UNWELL)
def test_what_is_wrong_has_a_name_an_explanation_and_a_remedy(
    code: Code, severity: Severity, subject: str, document: dict[str, Any]
) -> None:
    (condition,) = conditions(document)
    assert (condition.code, condition.severity, condition.subject) == (code, severity, subject)
    assert condition.explanation.endswith(".")
    assert condition.remedy.endswith(".")


def test_every_condition_can_come_about_and_has_a_remedy() -> None:
    assert {code for code, *_ in UNWELL} == set(Code) == set(REMEDIES)


def test_a_gateway_that_is_well_has_none() -> None:
    assert conditions(status(last_reload={"at": "…", "result": "done", "sentences": []})) == ()


def test_an_endpoint_without_a_connection_log_needs_no_log_group() -> None:
    assert conditions(status(endpoints=[endpoint(connection_log=None)])) == ()


def test_a_gateway_whose_store_was_never_open_has_no_mirror_yet() -> None:
    (condition,) = conditions(status(managed=managed(mirror=None, problem="it has not been opened yet")))
    assert condition.code is Code.STORE_AWAY


def test_how_old_that_is_which_runs_without_the_store_is_said() -> None:
    last_known = {"problem": "", "as_of": "2026-06-01T12:00:00+00:00"}
    (condition,) = conditions(status(managed=managed(mirror=None, problem="it is away", last_known=last_known)))
    assert "as they were at 2026-06-01T12:00:00+00:00" in condition.explanation


def test_errors_come_first() -> None:
    document = status(host_problems=["eth1 is not there"], endpoints=[pool(90)], down={"two": "no port"})
    assert [condition.severity.value for condition in conditions(document)] == ["error", "warning", "warning"]


def test_what_keeps_an_endpoint_down_is_said_once() -> None:
    problem = "endpoint two: port 443 is taken"
    document = status(down={"two": problem}, managed=managed(endpoints={"two": [problem]}))
    assert [condition.code for condition in conditions(document)] == [Code.ENDPOINT_DOWN]
