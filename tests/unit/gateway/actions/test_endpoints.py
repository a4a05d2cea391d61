from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

import gateway.actions.associations  # noqa: F401 - registers the actions
from gateway.actions.control_channel_keys import open_control_channel_keys
from gateway.actions.settings import Quotas
from gateway.store.schema import endpoint, tag
from tests.unit.gateway.actions.endpoint_calls import create, describe, modify, shown, wanted
from tests.unit.gateway.actions.harness import SETTINGS, invoke, invoke_for_audit, limited_to, refused
from tests.unit.gateway.actions.racing import outcomes_at_once
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    FILE_ENDPOINT_ID,
    add_association,
    add_endpoint,
    add_file_endpoint,
    add_network,
)

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns


def tagged(**tags: str) -> list[dict[str, Any]]:
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{"ResourceType": "client-vpn-endpoint", "Tags": pairs}]


# Create


def test_a_new_endpoint_waits_for_its_first_association(store: Store, arns: Arns) -> None:
    reply = invoke(store, "CreateClientVpnEndpoint", **wanted(arns))
    assert re.fullmatch(r"cvpn-endpoint-[0-9a-f]{17}", reply["ClientVpnEndpointId"])
    assert reply["Status"] == {"Code": "pending-associate"}
    assert reply["DnsName"] == "vpn.example.com"


def test_a_new_endpoint_has_a_key_of_its_own_for_its_control_channel(store: Store, arns: Arns) -> None:
    create(store, arns)
    create(store, arns, ClientCidrBlock="10.30.0.0/22", VpnPort=1194)
    with store.read() as connection:
        sealed = list(connection.scalars(select(endpoint.c.control_channel_keys)))
    keys = [open_control_channel_keys(store.vault, one)["tls_crypt_key"] for one in sealed]
    assert [len(key) for key in keys] == [256, 256]
    assert keys[0] != keys[1]


def test_a_new_endpoint_has_the_tags_that_it_was_made_with(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, TagSpecifications=tagged(team="blue", Name="office"))
    assert shown(store, endpoint_id)["Tags"] == [
        {"Key": "Name", "Value": "office"},
        {"Key": "team", "Value": "blue"},
    ]


def test_tags_of_something_else_are_refused(store: Store, arns: Arns) -> None:
    with refused("InvalidParameterValue", "client-vpn-endpoint"):
        create(store, arns, TagSpecifications=[{"ResourceType": "vpc", "Tags": []}])


def test_there_are_only_so_many_endpoints(store: Store, arns: Arns) -> None:
    two = replace(SETTINGS, quotas=Quotas(endpoints=2))
    add_file_endpoint(store)
    add_endpoint(store, ended_at=1.0)
    for number in (1, 2):
        create(store, arns, ClientCidrBlock=f"10.{number}.0.0/22", VpnPort=1000 + number, settings=two)
    more = {"ClientCidrBlock": "10.3.0.0/22", "VpnPort": 1003}
    with refused("ClientVpnEndpointLimitExceeded", "the limit is 2"):
        create(store, arns, **more, settings=two)
    assert create(store, arns, **more, settings=replace(SETTINGS, quotas=Quotas(endpoints=0)))


def test_the_audit_log_learns_what_was_made(store: Store, arns: Arns) -> None:
    reply, call = invoke_for_audit(store, "CreateClientVpnEndpoint", **wanted(arns, Description="x"))
    assert call.resource_id == reply["ClientVpnEndpointId"]
    assert (call.before, call.after) == (None, shown(store, call.resource_id))
    assert call.affects_gateways


def test_of_many_who_want_the_same_range_one_gets_it(store: Store, arns: Arns) -> None:
    calls = [
        ("CreateClientVpnEndpoint", wanted(arns, ClientCidrBlock=f"10.20.{number}.0/22", VpnPort=1000 + number))
        for number in range(4)
    ]
    assert outcomes_at_once(store, *calls) == ["InvalidParameterValue"] * 3 + ["ok"]


def test_many_at_once_do_not_exceed_the_limit(store: Store, arns: Arns) -> None:
    calls = [
        ("CreateClientVpnEndpoint", wanted(arns, ClientCidrBlock=f"10.{number}.0.0/22", VpnPort=1000 + number))
        for number in range(8)
    ]
    assert outcomes_at_once(store, *calls) == ["ClientVpnEndpointLimitExceeded"] * 3 + ["ok"] * 5


def test_an_endpoint_gets_a_target_network_or_is_deleted_and_not_both(store: Store) -> None:
    add_endpoint(store)
    subnet_id = add_network(store)
    outcomes = outcomes_at_once(
        store,
        ("DeleteClientVpnEndpoint", {"ClientVpnEndpointId": ENDPOINT_ID}),
        ("AssociateClientVpnTargetNetwork", {"ClientVpnEndpointId": ENDPOINT_ID, "SubnetId": subnet_id}),
    )
    assert outcomes in (["DependencyViolation", "ok"], ["IncorrectState", "ok"])


# Modify


def test_what_a_file_declares_is_changed_there(store: Store) -> None:
    add_file_endpoint(store)
    with refused("UnsupportedOperation", "/etc/portway/config.toml"):
        modify(store, FILE_ENDPOINT_ID, Description="x")
    with refused("UnsupportedOperation", "portway reload"):
        invoke(store, "DeleteClientVpnEndpoint", ClientVpnEndpointId=FILE_ENDPOINT_ID)


@pytest.mark.parametrize("name", ["ModifyClientVpnEndpoint", "DeleteClientVpnEndpoint"])
def test_what_is_not_there_is_not_found(store: Store, name: str) -> None:
    with refused("InvalidClientVpnEndpointId.NotFound", "'cvpn-endpoint-x'"):
        invoke(store, name, ClientVpnEndpointId="cvpn-endpoint-x")


def test_the_audit_log_learns_what_has_changed(store: Store) -> None:
    add_endpoint(store)
    _, call = invoke_for_audit(store, "ModifyClientVpnEndpoint", ClientVpnEndpointId=ENDPOINT_ID, SplitTunnel=True)
    assert call.after == call.before | {"SplitTunnel": True}
    assert call.affects_gateways


def test_gateways_need_not_look_where_nothing_has_changed(store: Store) -> None:
    add_endpoint(store)
    for nothing in ({}, {"SplitTunnel": False}, {"VpnPort": 443}):
        _, call = invoke_for_audit(store, "ModifyClientVpnEndpoint", ClientVpnEndpointId=ENDPOINT_ID, **nothing)
        assert not call.affects_gateways


# Delete


def test_an_endpoint_is_deleting_until_gateways_have_let_go(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, TagSpecifications=tagged(team="blue"))
    for affects in (True, False):
        reply, call = invoke_for_audit(store, "DeleteClientVpnEndpoint", ClientVpnEndpointId=endpoint_id)
        assert reply == {"Status": {"Code": "deleting"}}
        assert call.affects_gateways is affects
    assert shown(store, endpoint_id)["Status"] == {"Code": "deleting"}
    with store.read() as connection:
        assert connection.execute(select(tag)).all() == []


def test_what_is_being_deleted_is_not_changed(store: Store) -> None:
    add_endpoint(store, status_code="deleting")
    with refused("IncorrectState"):
        modify(store, ENDPOINT_ID, Description="x")


@pytest.mark.parametrize("status", ["associating", "associated", "association-failed", "disassociating"])
def test_an_endpoint_with_target_networks_is_not_deleted(store: Store, status: str) -> None:
    add_endpoint(store)
    add_association(store, status_code=status)
    with refused("DependencyViolation", "cvpn-assoc-1"):
        invoke(store, "DeleteClientVpnEndpoint", ClientVpnEndpointId=ENDPOINT_ID)


def test_target_networks_that_are_gone_do_not_matter(store: Store) -> None:
    add_endpoint(store)
    add_association(store, ended_at=1.0)
    invoke(store, "DeleteClientVpnEndpoint", ClientVpnEndpointId=ENDPOINT_ID)


# Describe


def ids(endpoints: list[dict[str, Any]]) -> list[str]:
    return [one["ClientVpnEndpointId"] for one in endpoints]


@pytest.fixture
def several(store: Store) -> list[str]:
    """Seven endpoints, the later the smaller its id."""
    return [
        add_endpoint(
            store,
            f"cvpn-endpoint-{9 - number}",
            client_cidr_block=f"10.{number}.0.0/16",
            created_at=float(number),
            transport_protocols=["tcp"] if number == 3 else ["udp"],
        )
        for number in range(7)
    ]


def test_endpoints_are_listed_in_the_order_in_which_they_were_made(store: Store, several: list[str]) -> None:
    assert ids(describe(store)) == several


def test_endpoints_come_in_pages(store: Store, several: list[str]) -> None:
    first = invoke(store, "DescribeClientVpnEndpoints", MaxResults=5)
    rest = invoke(store, "DescribeClientVpnEndpoints", MaxResults=5, NextToken=first["NextToken"])
    assert ids(first["ClientVpnEndpoints"]) + ids(rest["ClientVpnEndpoints"]) == several
    assert rest["NextToken"] is None


def test_endpoints_are_asked_for_by_id(store: Store, several: list[str]) -> None:
    assert ids(describe(store, several[4], several[1], several[4])) == [several[1], several[4]]
    with refused("InvalidClientVpnEndpointId.NotFound", "'cvpn-endpoint-none'"):
        describe(store, several[1], "cvpn-endpoint-none")


@pytest.mark.parametrize(
    ("name", "values", "positions"),
    [
        ("endpoint-id", ["cvpn-endpoint-9", "cvpn-endpoint-3"], [0, 6]),
        ("endpoint-id", ["*-[34]"], []),
        ("transport-protocol", ["tcp"], [3]),
        ("transport-protocol", ["t*", "udp"], [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_endpoints_are_filtered(
    store: Store, several: list[str], name: str, values: list[str], positions: list[int]
) -> None:
    found = ids(describe(store, Filters=[{"Name": name, "Values": values}]))
    assert found == [several[position] for position in positions]


def test_endpoints_are_filtered_by_tags(store: Store, arns: Arns, several: list[str]) -> None:
    quotas = replace(SETTINGS, quotas=Quotas(endpoints=0))
    endpoint_id = create(
        store, arns, ClientCidrBlock="172.20.0.0/22", VpnPort=1, TagSpecifications=tagged(team="a"), settings=quotas
    )
    for name, value in (("tag:team", "a"), ("tag-key", "team"), ("tag-value", "a")):
        assert ids(describe(store, Filters=[{"Name": name, "Values": [value]}])) == [endpoint_id]


def test_a_file_s_endpoint_of_both_transports_is_found_by_either(store: Store) -> None:
    add_file_endpoint(store, transport_protocols=["udp", "tcp"])
    for transport in ("udp", "tcp"):
        found = describe(store, Filters=[{"Name": "transport-protocol", "Values": [transport]}])
        assert ids(found) == [FILE_ENDPOINT_ID]


def test_an_unknown_filter_is_refused(store: Store) -> None:
    with refused("InvalidParameterValue", "endpoint-id, transport-protocol"):
        describe(store, Filters=[{"Name": "vpc-id", "Values": ["x"]}])


def test_what_has_ended_is_not_found(store: Store) -> None:
    add_endpoint(store, ended_at=1.0)
    assert describe(store) == []
    with refused("InvalidClientVpnEndpointId.NotFound"):
        describe(store, ENDPOINT_ID)


def test_a_caller_sees_the_endpoints_that_it_may_know_of(store: Store, several: list[str]) -> None:
    mine = limited_to(several[2])
    assert ids(describe(store, caller=mine)) == [several[2]]
    with refused("InvalidClientVpnEndpointId.NotFound"):
        describe(store, several[1], caller=mine)
