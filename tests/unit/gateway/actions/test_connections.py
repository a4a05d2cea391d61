from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from gateway.actions import Quotas
from gateway.actions.connections import SHOWN_AFTER_END_S
from gateway.store.schema import connection
from tests.unit.gateway.actions.harness import NOW, SETTINGS, invoke, invoke_for_audit, refused
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    FILE_ENDPOINT_ID,
    add_connection,
    add_endpoint,
    add_file_endpoint,
)

if TYPE_CHECKING:
    from gateway.store import Store

OTHER_ID = "cvpn-endpoint-2"
NOTHING_TO_END: list[tuple[dict[str, str], str]] = [
    ({}, "MissingParameter"),
    ({"ConnectionId": "", "Username": ""}, "MissingParameter"),
    ({"ConnectionId": "cvpn-connection-1", "Username": "laptop"}, "InvalidParameterCombination"),
    ({"ConnectionId": "cvpn-connection-2"}, "InvalidClientVpnConnection.IdNotFound"),
    ({"ConnectionId": "cvpn-connection-3"}, "InvalidClientVpnConnection.IdNotFound"),
    ({"ConnectionId": "cvpn-connection-4"}, "InvalidClientVpnConnection.IdNotFound"),
    ({"Username": "nobody"}, "InvalidClientVpnConnection.UserNotFound"),
    ({"Username": "gone"}, "InvalidClientVpnConnection.UserNotFound"),
    ({"Username": "elsewhere"}, "InvalidClientVpnConnection.UserNotFound"),
]
KEYS_OF_OTHER_LISTS: list[Any] = [
    1,
    "ab",
    [1780315200, "cvpn-connection-1"],
    [1.5],
    [1.5, 2],
    [1.5, "\0"],
    [1.5, "cvpn-connection-1", "x"],
    [[1.5], "cvpn-connection-1"],
    {"a": 1},
]


@pytest.fixture
def world(store: Store) -> Store:
    """Two endpoints without connections."""
    add_endpoint(store)
    add_endpoint(store, OTHER_ID, client_cidr_block="10.30.0.0/22")
    return store


def described(store: Store, **given: Any) -> list[dict[str, Any]]:
    given = {"ClientVpnEndpointId": ENDPOINT_ID} | given
    return list(invoke(store, "DescribeClientVpnConnections", **given)["Connections"])


def ids(store: Store, **given: Any) -> list[str]:
    return [one["ConnectionId"] for one in described(store, **given)]


def terminate(store: Store, **given: Any) -> dict[str, Any]:
    return invoke(store, "TerminateClientVpnConnections", **({"ClientVpnEndpointId": ENDPOINT_ID} | given))


def terminating(store: Store) -> list[str]:
    chosen = select(connection.c.id).where(connection.c.status_code == "terminating").order_by(connection.c.id)
    with store.read() as transaction:
        return list(transaction.scalars(chosen))


def changes(*changed: tuple[str, str, str]) -> list[dict[str, Any]]:
    return [
        {"ConnectionId": name, "PreviousStatus": {"Code": before}, "CurrentStatus": {"Code": after}}
        for name, before, after in changed
    ]


def test_a_connection_is_shown_with_its_counters_as_text(world: Store) -> None:
    add_connection(world, ingress_bytes=2**62, egress_bytes=2, ingress_packets=3, egress_packets=0)
    assert described(world) == [
        {
            "ClientVpnEndpointId": ENDPOINT_ID,
            "Timestamp": "2026-06-01 11:59:59",
            "ConnectionId": "cvpn-connection-1",
            "ConnectionEstablishedTime": "2026-06-01 11:59:00",
            "IngressBytes": "4611686018427387904",
            "EgressBytes": "2",
            "IngressPackets": "3",
            "EgressPackets": "0",
            "ClientIp": "10.20.0.2",
            "CommonName": "laptop",
            "Status": {"Code": "active"},
            "ConnectionEndTime": "-",
        }
    ]


def test_a_user_has_a_name_of_its_own(world: Store) -> None:
    add_connection(world, username="joe")
    assert [(one["Username"], one["CommonName"]) for one in described(world)] == [("joe", "laptop")]


def test_what_has_ended_is_shown_for_an_hour(world: Store) -> None:
    add_connection(world, "cvpn-connection-1", status_code="terminated", ended_at=NOW - SHOWN_AFTER_END_S + 1)
    add_connection(world, "cvpn-connection-2", status_code="terminated", ended_at=NOW - SHOWN_AFTER_END_S)
    assert [(one["ConnectionId"], one["Status"], one["ConnectionEndTime"]) for one in described(world)] == [
        ("cvpn-connection-1", {"Code": "terminated"}, "2026-06-01 11:00:01")
    ]


def test_the_connections_of_an_endpoint_are_its_own(world: Store) -> None:
    add_connection(world, endpoint_id=OTHER_ID)
    assert ids(world) == []
    assert ids(world, ClientVpnEndpointId=OTHER_ID) == ["cvpn-connection-1"]


def test_connections_are_found_by_filters(world: Store) -> None:
    add_connection(world, "cvpn-connection-1")
    add_connection(world, "cvpn-connection-2", username="joe")
    add_connection(world, "cvpn-connection-3", common_name="desktop")
    for name, value, found in (
        ("connection-id", "cvpn-connection-2", "2"),
        ("username", "joe", "2"),
        ("username", "laptop", "12"),
        ("username", "desktop", "3"),
        ("username", "*top", "123"),
        ("username", "", ""),
    ):
        assert "".join(one[-1] for one in ids(world, Filters=[{"Name": name, "Values": [value]}])) == found, value


def test_other_filters_are_refused(world: Store) -> None:
    with refused("InvalidParameterValue", "connection-id, username"):
        described(world, Filters=[{"Name": "status", "Values": ["active"]}])


def test_connections_come_in_pages_from_the_oldest(world: Store) -> None:
    for number in range(12):
        add_connection(world, f"cvpn-connection-{number:x}", established_at=NOW - 100 - number // 2)
    parameters: dict[str, Any] = {"ClientVpnEndpointId": ENDPOINT_ID, "MaxResults": 5}
    seen = ""
    while True:
        reply = invoke(world, "DescribeClientVpnConnections", **parameters)
        seen += "".join(one["ConnectionId"][-1] for one in reply["Connections"]) + " "
        if reply["NextToken"] is None:
            break
        parameters["NextToken"] = reply["NextToken"]
    assert seen == "ab896 74523 01 "


def test_a_page_is_full_however_rarely_the_filter_lets_one_pass(world: Store) -> None:
    for number in range(40):
        add_connection(world, f"cvpn-connection-{number:02}", common_name="a" if number % 7 == 0 else "b")
    parameters = {"MaxResults": 5, "Filters": [{"Name": "username", "Values": ["a"]}]}
    assert [one[-2:] for one in ids(world, **parameters)] == ["00", "07", "14", "21", "28"]


def test_what_comes_and_goes_between_pages_moves_nothing(world: Store) -> None:
    for number in range(8):
        add_connection(world, f"cvpn-connection-{number}")
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "MaxResults": 5}
    first = invoke(world, "DescribeClientVpnConnections", **parameters)
    with world.write() as transaction:
        gone = connection.c.id.in_(["cvpn-connection-2", "cvpn-connection-6"])
        transaction.execute(update(connection).where(gone).values(ended_at=1.0))
    add_connection(world, "cvpn-connection-00", established_at=NOW - 1000)
    second = invoke(world, "DescribeClientVpnConnections", NextToken=first["NextToken"], **parameters)
    assert [one["ConnectionId"][-1] for one in second["Connections"]] == ["5", "7"]


def test_a_token_with_another_key_is_refused(world: Store) -> None:
    for number in range(6):
        add_connection(world, f"cvpn-connection-{number}")
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "MaxResults": 5}
    token = invoke(world, "DescribeClientVpnConnections", **parameters)["NextToken"]
    digest, _ = json.loads(base64.urlsafe_b64decode(token))
    for key in KEYS_OF_OTHER_LISTS:
        forged = base64.urlsafe_b64encode(json.dumps([digest, key]).encode()).decode()
        with refused("InvalidNextToken"):
            described(world, NextToken=forged, **parameters)


def test_one_connection_is_terminated_by_its_id(world: Store) -> None:
    add_connection(world, "cvpn-connection-1")
    add_connection(world, "cvpn-connection-2")
    reply, call = invoke_for_audit(
        world, "TerminateClientVpnConnections", ClientVpnEndpointId=ENDPOINT_ID, ConnectionId="cvpn-connection-2"
    )
    assert reply == {
        "ClientVpnEndpointId": ENDPOINT_ID,
        "ConnectionStatuses": changes(("cvpn-connection-2", "active", "terminating")),
    }
    assert terminating(world) == ["cvpn-connection-2"]
    assert call.before == {"cvpn-connection-2": {"Code": "active"}}
    assert call.after == {"cvpn-connection-2": {"Code": "terminating"}}
    assert call.affects_gateways


@pytest.mark.parametrize("name", ["username", "common_name"])
def test_all_connections_of_a_user_are_terminated(world: Store, name: str) -> None:
    for number in range(7):
        add_connection(world, f"cvpn-connection-{number}", **{name: "joe"})
    add_connection(world, "cvpn-connection-7", **{name: "jim"})
    add_connection(world, "cvpn-connection-8", **{name: "joe"}, endpoint_id=OTHER_ID)
    add_connection(world, "cvpn-connection-9", **{name: "joe"}, status_code="terminated", ended_at=NOW - 1)
    reply = terminate(world, Username="joe")
    assert reply["Username"] == "joe"
    assert reply["ConnectionStatuses"] == changes(
        *((f"cvpn-connection-{number}", "active", "terminating") for number in range(7))
    )
    assert terminating(world) == [f"cvpn-connection-{number}" for number in range(7)]


def test_what_failed_to_terminate_is_tried_again(world: Store) -> None:
    add_connection(world, status_code="failed-to-terminate", status_message="The gateway did not answer.")
    status = terminate(world, ConnectionId="cvpn-connection-1")["ConnectionStatuses"][0]
    assert status["PreviousStatus"] == {"Code": "failed-to-terminate", "Message": "The gateway did not answer."}
    assert status["CurrentStatus"] == {"Code": "terminating"}
    assert described(world)[0]["Status"] == {"Code": "terminating"}


@pytest.mark.parametrize(("status", "ended_at"), [("terminating", None), ("terminated", NOW - 1)])
def test_what_is_ending_or_has_ended_stays_as_it_is(world: Store, status: str, ended_at: float | None) -> None:
    add_connection(world, status_code=status, ended_at=ended_at)
    reply, call = invoke_for_audit(
        world, "TerminateClientVpnConnections", ClientVpnEndpointId=ENDPOINT_ID, ConnectionId="cvpn-connection-1"
    )
    assert reply["ConnectionStatuses"] == changes(("cvpn-connection-1", status, status))
    assert described(world)[0]["Status"] == {"Code": status}
    assert not call.affects_gateways


def test_there_has_to_be_something_to_end(world: Store) -> None:
    add_connection(world, "cvpn-connection-1")
    add_connection(world, "cvpn-connection-3", common_name="gone", status_code="terminated", ended_at=NOW - 4000)
    add_connection(world, "cvpn-connection-4", common_name="elsewhere", endpoint_id=OTHER_ID)
    for given, code in NOTHING_TO_END:
        with refused(code):
            terminate(world, **given)
    assert terminating(world) == []


def test_a_user_may_have_too_many_connections_to_end_at_once(world: Store) -> None:
    limited = replace(SETTINGS, quotas=Quotas(sessions_per_terminated_user=2))
    for number in range(2):
        add_connection(world, f"cvpn-connection-{number}")
    terminate(world, Username="laptop", settings=limited)
    add_connection(world, "cvpn-connection-2")
    with refused("ClientVpnTerminateConnectionsLimitExceeded", "up to 2"):
        terminate(world, Username="laptop", settings=limited)
    assert terminating(world) == ["cvpn-connection-0", "cvpn-connection-1"]


def test_connections_of_a_files_endpoint_can_be_ended_too(store: Store) -> None:
    add_file_endpoint(store)
    add_connection(store, endpoint_id=FILE_ENDPOINT_ID)
    terminate(store, ClientVpnEndpointId=FILE_ENDPOINT_ID, ConnectionId="cvpn-connection-1")
    assert terminating(store) == ["cvpn-connection-1"]


@pytest.mark.parametrize("name", ["DescribeClientVpnConnections", "TerminateClientVpnConnections"])
def test_the_endpoint_has_to_be_there(store: Store, name: str) -> None:
    with refused("InvalidClientVpnEndpointId.NotFound"):
        invoke(store, name, ClientVpnEndpointId=ENDPOINT_ID, Username="joe")
