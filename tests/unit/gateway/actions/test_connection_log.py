from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import gateway.actions.connection_log  # noqa: F401 - registers it
from gateway.managed.backlog import Batch
from gateway.managed.connection_rows import write_batch
from tests.unit.gateway.actions.harness import invoke, limited_to, refused
from tests.unit.gateway.actions.rows import ENDPOINT_ID
from tests.unit.gateway.managed.rows import NODE, T0, ended, established, failed

if TYPE_CHECKING:
    from gateway.connection_log import ConnectionRecord
    from gateway.store import Store

OTHER_ID = "cvpn-endpoint-00000000000000002"


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(T0 + seconds, UTC)


def keep(store: Store, *records: ConnectionRecord, lost: int = 0) -> None:
    with store.write() as transaction:
        write_batch(transaction, Batch(events=records, lost_events=lost), node=NODE, now=T0)


def ask(store: Store, **parameters: Any) -> list[str]:
    """The last digits of the connections whose lines come, in order."""
    reply = invoke(store, "DescribeConnectionLog", **parameters)
    return [one["ConnectionId"][-2:] for one in reply["ConnectionLogRecords"]]


@pytest.fixture
def lived_in(store: Store) -> Store:
    keep(
        store,
        established(1, T0),
        failed(2, T0 + 10, common_name="bob"),
        replace(established(3, T0 + 20), endpoint_id=OTHER_ID),
        ended(established(1), T0 + 30, moved=2),
    )
    return store


def test_lines_come_with_what_people_look_for_and_the_whole_record(lived_in: Store) -> None:
    end, *_, start = invoke(lived_in, "DescribeConnectionLog")["ConnectionLogRecords"]
    assert end.pop("Record") == ended(established(1), T0 + 30, moved=2).as_json()
    assert end == {
        "Timestamp": at(30),
        "ClientVpnEndpointId": ENDPOINT_ID,
        "ConnectionId": established(1).connection_id,
        "Username": "ana",
        "Outcome": "ended",
        "Reason": "client-exit",
        "DeviceIp": "198.51.100.9",
        "Node": NODE,
        "DurationSeconds": "30",
    }
    assert "Reason" not in start


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["01", "03", "02", "01"]),
        ({"StartTime": at(10)}, ["01", "03", "02"]),
        ({"EndTime": at(10)}, ["01"]),
        ({"StartTime": at(10), "EndTime": at(30)}, ["03", "02"]),
        ({"Username": "bob"}, ["02"]),
        ({"ConnectionId": established(1).connection_id}, ["01", "01"]),
        ({"Outcome": "failed"}, ["02"]),
        ({"Outcome": "ended", "Username": "ana"}, ["01"]),
        ({"ClientVpnEndpointId": OTHER_ID}, ["03"]),
        ({"Username": "nobody"}, []),
    ],
)
def test_it_is_asked_by_time_user_endpoint_and_outcome(
    lived_in: Store, asked: dict[str, Any], found: list[str]
) -> None:
    assert ask(lived_in, **asked) == found


def test_a_failure_says_why(lived_in: Store) -> None:
    (line,) = invoke(lived_in, "DescribeConnectionLog", Outcome="failed")["ConnectionLogRecords"]
    assert line["FailureReason"] == "the certificate is past its end"
    assert line["Reason"] == "certificate-expired"


def test_lost_lines_have_a_place_in_it(store: Store) -> None:
    keep(store, failed(), lost=4)
    (lost,) = invoke(store, "DescribeConnectionLog", Outcome="lost")["ConnectionLogRecords"]
    assert json.loads(lost["Record"])["lost-records"] == "4"


def test_callers_see_the_log_of_their_endpoints(lived_in: Store) -> None:
    assert ask(lived_in, caller=limited_to(OTHER_ID)) == ["03"]
    with refused("InvalidClientVpnEndpointId.NotFound"):
        ask(lived_in, caller=limited_to(OTHER_ID), ClientVpnEndpointId=ENDPOINT_ID)


def test_an_endpoint_without_a_trace_is_not_found(lived_in: Store) -> None:
    with refused("InvalidClientVpnEndpointId.NotFound"):
        ask(lived_in, ClientVpnEndpointId="cvpn-endpoint-00000000000000009")


def test_a_period_has_to_have_an_order(store: Store) -> None:
    with refused("InvalidParameterCombination"):
        ask(store, StartTime=at(1), EndTime=at(1))


def test_pages_go_back_in_time_whatever_comes_meanwhile(store: Store) -> None:
    keep(store, *(failed(number, T0 + number // 2) for number in range(12)))
    first = invoke(store, "DescribeConnectionLog", MaxResults=5)
    keep(store, failed(99, T0 + 100))
    second = invoke(store, "DescribeConnectionLog", MaxResults=5, NextToken=first["NextToken"])
    third = invoke(store, "DescribeConnectionLog", MaxResults=5, NextToken=second["NextToken"])
    lines = [one["ConnectionId"] for page in (first, second, third) for one in page["ConnectionLogRecords"]]
    assert lines == [failed(number).connection_id for number in range(11, -1, -1)]
    assert third["NextToken"] is None


def test_a_token_of_another_list_is_refused(store: Store) -> None:
    keep(store, *(failed(number) for number in range(6)))
    token = invoke(store, "DescribeConnectionLog", MaxResults=5)["NextToken"]
    with refused("InvalidNextToken"):
        ask(store, Username="ana", NextToken=token)
