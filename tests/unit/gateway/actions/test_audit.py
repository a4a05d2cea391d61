from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

import gateway.actions.audit  # noqa: F401 - registers it
from gateway.store.schema import audit
from tests.unit.gateway.actions.harness import NOW, invoke, limited_to
from tests.unit.gateway.actions.rows import ENDPOINT_ID

if TYPE_CHECKING:
    from gateway.store import Store


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


def entry(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "at": NOW + number,
        "request_id": f"request-{number}",
        "caller": "AKADMIN",
        "face": "api",
        "source_ip": "192.0.2.1",
        "action": "CreateClientVpnRoute",
        "resource_id": ENDPOINT_ID,
        "parameters": {"ClientVpnEndpointId": ENDPOINT_ID},
        "before": None,
        "after": {"Status": "creating"},
        "outcome": "ok",
    } | changes


@pytest.fixture
def lived_in(store: Store) -> Store:
    entries = [
        entry(0),
        entry(10, caller="socket:0", face="socket", source_ip="", action="DeleteAccessKey", resource_id="PWKA1"),
        entry(20, outcome="InvalidClientVpnDuplicateRoute", after=None),
    ]
    with store.write() as transaction:
        transaction.execute(insert(audit), entries)
    return store


def ask(store: Store, **parameters: Any) -> list[str]:
    return [one["RequestId"][8:] for one in invoke(store, "DescribeAuditEvents", **parameters)["AuditEvents"]]


def test_an_entry_says_who_did_what_from_where_and_what_changed(lived_in: Store) -> None:
    *_, first = invoke(lived_in, "DescribeAuditEvents")["AuditEvents"]
    assert json.loads(first.pop("Parameters")) == {"ClientVpnEndpointId": ENDPOINT_ID}
    assert (first.pop("Before"), json.loads(first.pop("After"))) == (None, {"Status": "creating"})
    assert first.pop("EventId").isdecimal()
    assert first == {
        "EventTime": at(0),
        "RequestId": "request-0",
        "CallerId": "AKADMIN",
        "Face": "api",
        "SourceIp": "192.0.2.1",
        "ActionName": "CreateClientVpnRoute",
        "ResourceId": ENDPOINT_ID,
        "Outcome": "ok",
    }


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["20", "10", "0"]),
        ({"StartTime": at(10)}, ["20", "10"]),
        ({"EndTime": at(20)}, ["10", "0"]),
        ({"CallerId": "socket:0"}, ["10"]),
        ({"ActionName": "CreateClientVpnRoute", "Outcome": "ok"}, ["0"]),
        ({"ResourceId": "PWKA1"}, ["10"]),
        ({"ResourceId": "nothing"}, []),
    ],
)
def test_it_is_asked_by_time_caller_action_resource_and_outcome(
    lived_in: Store, asked: dict[str, Any], found: list[str]
) -> None:
    assert ask(lived_in, **asked) == found


def test_callers_see_what_concerns_their_endpoints(lived_in: Store) -> None:
    assert ask(lived_in, caller=limited_to(ENDPOINT_ID)) == ["20", "0"]
    assert ask(lived_in, caller=limited_to("cvpn-endpoint-00000000000000002")) == []


def test_it_comes_in_pages_the_newest_first(lived_in: Store) -> None:
    with lived_in.write() as transaction:
        transaction.execute(insert(audit), [entry(30 + number) for number in range(5)])
    first = invoke(lived_in, "DescribeAuditEvents", MaxResults=5)
    assert [one["RequestId"] for one in first["AuditEvents"]] == [f"request-{number}" for number in range(34, 29, -1)]
    assert ask(lived_in, MaxResults=5, NextToken=first["NextToken"]) == ["20", "10", "0"]
