from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.gateway.actions.endpoint_calls import describe, shown
from tests.unit.gateway.actions.harness import invoke, with_defaults
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    FILE_ENDPOINT_ID,
    add_association,
    add_endpoint,
    add_file_endpoint,
)

if TYPE_CHECKING:
    from gateway.store import Store


def test_an_endpoint_of_a_file_is_shown_with_its_values(store: Store) -> None:
    add_file_endpoint(
        store,
        status_code="available",
        description="from a file",
        transport_protocols=["tcp", "udp"],
        session_timeout_hours=7.5,
        settings={"public_hostname": "office.example.com"},
    )
    one = shown(store, FILE_ENDPOINT_ID)
    assert one["Status"] == {"Code": "available"}
    assert one["Description"] == "from a file"
    assert one["TransportProtocol"] == "udp"
    assert one["SessionTimeoutHours"] == 8
    assert one["DnsName"] == "office.example.com"


def test_an_endpoint_of_a_file_goes_by_its_name_there_unless_it_is_tagged(store: Store) -> None:
    add_file_endpoint(store, name="main")
    add_endpoint(store)
    assert shown(store, FILE_ENDPOINT_ID)["Tags"] == [{"Key": "Name", "Value": "main"}]
    assert shown(store, ENDPOINT_ID)["Tags"] == []
    (found,) = describe(store, Filters=[{"Name": "tag:Name", "Values": ["main"]}])
    assert found["ClientVpnEndpointId"] == FILE_ENDPOINT_ID
    invoke(store, "CreateTags", Resources=[FILE_ENDPOINT_ID], Tags=[{"Key": "Name", "Value": "headquarters"}])
    assert shown(store, FILE_ENDPOINT_ID)["Tags"] == [{"Key": "Name", "Value": "headquarters"}]


def test_times_are_written_as_aws_does(store: Store) -> None:
    add_endpoint(store)
    assert shown(store, ENDPOINT_ID)["CreationTime"] == "2026-06-01T12:00:00"


def test_target_networks_are_shown_while_they_live(store: Store) -> None:
    add_endpoint(store)
    add_association(store, "cvpn-assoc-2", subnet_id="subnet-2", zone="b")
    add_association(store, "cvpn-assoc-1", subnet_id="subnet-1", zone="a", status_code="disassociating")
    add_association(store, "cvpn-assoc-0", subnet_id="subnet-0", ended_at=1.0)
    assert shown(store, ENDPOINT_ID)["AssociatedTargetNetworks"] == [
        {"NetworkId": "subnet-1", "NetworkType": "vpc"},
        {"NetworkId": "subnet-2", "NetworkType": "vpc"},
    ]


@pytest.mark.parametrize(
    ("suffix", "hostname", "name"),
    [
        ("vpn.example.com", "gate.example.com", f"{ENDPOINT_ID}.vpn.example.com"),
        ("", "gate.example.com", "gate.example.com"),
        ("", "", ""),
    ],
)
def test_the_name_that_clients_connect_to_is_the_configured_one(
    store: Store, suffix: str, hostname: str, name: str
) -> None:
    add_endpoint(store)
    (one,) = describe(store, settings=with_defaults(dns_suffix=suffix, public_hostname=hostname))
    assert one["DnsName"] == name
