from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

import gateway.actions.routes  # noqa: F401 - registers them
from gateway.actions import ActionError, Quotas
from gateway.store.schema import route
from policy import MAX_ROUTES
from tests.unit.gateway.actions.harness import NOW, SETTINGS, invoke, invoke_for_audit, refused
from tests.unit.gateway.actions.racing import outcomes_at_once
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    FILE_ENDPOINT_ID,
    add_association,
    add_endpoint,
    add_file_endpoint,
    add_network,
    add_route,
)

if TYPE_CHECKING:
    from gateway.store import Store

CLIENT_RANGE = IPv4Network("10.20.0.0/22")
DEAD = [IPv4Network(cidr) for cidr in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32")]


@pytest.fixture
def world(store: Store) -> Store:
    """An endpoint with one association, behind which more can be reached."""
    add_endpoint(store, client_cidr_block=str(CLIENT_RANGE))
    add_network(store, next_hop="192.168.10.1")
    add_association(store)
    return store


def create(store: Store, destination: str, target: str | None = "subnet-1", **given: Any) -> dict[str, Any]:
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "DestinationCidrBlock": destination}
    return invoke(store, "CreateClientVpnRoute", **(parameters | {"TargetVpcSubnetId": target} | given))


def remove(store: Store, destination: str, target: str | None = "subnet-1", **given: Any) -> dict[str, Any]:
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "DestinationCidrBlock": destination}
    return invoke(store, "DeleteClientVpnRoute", **(parameters | {"TargetVpcSubnetId": target} | given))


def described(store: Store, **given: Any) -> list[dict[str, Any]]:
    return list(invoke(store, "DescribeClientVpnRoutes", **({"ClientVpnEndpointId": ENDPOINT_ID} | given))["Routes"])


def with_quota(limit: int) -> Any:
    return replace(SETTINGS, quotas=Quotas(routes_per_association=limit))


def test_a_route_is_shown_as_it_was_made(world: Store) -> None:
    assert create(world, "0.0.0.0/0", Description="out") == {"Status": {"Code": "creating"}}
    assert described(world) == [
        {
            "ClientVpnEndpointId": ENDPOINT_ID,
            "DestinationCidr": "0.0.0.0/0",
            "TargetSubnet": "subnet-1",
            "Type": "Nat",
            "Origin": "add-route",
            "Status": {"Code": "creating"},
            "Description": "out",
        }
    ]


def test_the_audit_log_sees_a_route_come_and_go(world: Store) -> None:
    names = {"DestinationCidrBlock": "0.0.0.0/0", "TargetVpcSubnetId": "subnet-1"}
    _, made = invoke_for_audit(world, "CreateClientVpnRoute", ClientVpnEndpointId=ENDPOINT_ID, **names)
    _, removed = invoke_for_audit(world, "DeleteClientVpnRoute", ClientVpnEndpointId=ENDPOINT_ID, **names)
    assert (made.before, made.after) == (None, removed.before)
    assert removed.after == removed.before | {"Status": {"Code": "deleting"}}
    assert made.affects_gateways
    assert removed.affects_gateways


def test_a_destination_is_an_ipv4_network(world: Store) -> None:
    for destination in ("10.0.0.0/33", "10.0.0.0", "10.0.0.0/255.0.0.0", "fd00::/8", "::/0", "", "any"):
        for change in (create, remove):
            with refused("InvalidParameterValue", repr(destination)):
                change(world, destination)


def test_a_route_out_keeps_clear_of_the_client_range(world: Store) -> None:
    for destination in ("10.20.0.0/22", "10.20.1.5/32", "10.0.0.0/8"):
        with refused("InvalidParameterValue", "overlaps the client range 10.20.0.0/22"):
            create(world, destination)


def test_what_is_never_forwarded_has_no_route(world: Store) -> None:
    for destination in ("127.0.0.0/8", "224.0.0.1/32", "0.0.0.0/8"):
        with refused("InvalidParameterValue", "never forwarded"):
            create(world, destination)


def test_without_a_next_hop_a_subnet_leads_to_itself_only(store: Store) -> None:
    add_endpoint(store)
    add_network(store)
    add_association(store)
    create(store, "192.168.10.128/25")
    with refused("InvalidParameterValue", "next_hop"):
        create(store, "0.0.0.0/0")


@pytest.mark.parametrize("destination", ["10.20.0.0/22", "10.20.3.0/24"])
def test_clients_reach_each_other_by_a_local_route(world: Store, destination: str) -> None:
    create(world, destination, "local")
    assert [(one["DestinationCidr"], one["TargetSubnet"]) for one in described(world)] == [(destination, "local")]


def test_a_local_route_stays_in_the_client_range(world: Store) -> None:
    for destination in ("10.20.0.0/21", "0.0.0.0/0", "192.168.10.0/24"):
        with refused("InvalidParameterValue", "not in the client range"):
            create(world, destination, "local")


@pytest.mark.parametrize("target", [None, ""])
def test_a_route_needs_a_target(world: Store, target: str | None) -> None:
    with refused("MissingParameter", "TargetVpcSubnetId"):
        create(world, "0.0.0.0/0", target)


@pytest.mark.parametrize("status", ["association-failed", "disassociating"])
def test_a_route_needs_an_active_association(store: Store, status: str) -> None:
    add_endpoint(store)
    add_network(store, next_hop="192.168.10.1")
    with refused("InvalidClientVpnActiveAssociationNotFound", "subnet-1"):
        create(store, "0.0.0.0/0")
    add_association(store, "cvpn-assoc-0", status_code="disassociated", ended_at=NOW)
    with refused("InvalidClientVpnActiveAssociationNotFound", "subnet-1"):
        create(store, "0.0.0.0/0")
    add_association(store, status_code=status)
    with refused("InvalidClientVpnActiveAssociationNotFound", status):
        create(store, "0.0.0.0/0")


def test_another_endpoints_association_does_not_do(world: Store) -> None:
    other = add_endpoint(world, "cvpn-endpoint-2", client_cidr_block="10.30.0.0/22")
    with refused("InvalidClientVpnActiveAssociationNotFound", other):
        create(world, "0.0.0.0/0", ClientVpnEndpointId=other)


def test_a_route_may_be_made_while_its_association_comes_up(store: Store) -> None:
    add_endpoint(store)
    add_network(store, next_hop="192.168.10.1")
    add_association(store, status_code="associating")
    assert create(store, "0.0.0.0/0") == {"Status": {"Code": "creating"}}


@pytest.mark.parametrize("status", ["creating", "active", "failed"])
def test_a_route_is_there_once_however_it_is_written(world: Store, status: str) -> None:
    add_route(world, destination_cidr="10.9.0.0/16", status_code=status)
    with refused("InvalidClientVpnDuplicateRoute", "10.9.0.0/16"):
        create(world, "10.9.3.1/16")


def test_a_destination_may_be_reached_through_several_subnets(world: Store) -> None:
    add_network(world, "subnet-2", cidr="192.168.20.0/24", next_hop="192.168.20.1")
    add_association(world, "cvpn-assoc-2", subnet_id="subnet-2", zone="subnet-2")
    create(world, "0.0.0.0/0")
    create(world, "0.0.0.0/0", "subnet-2")
    assert [one["TargetSubnet"] for one in described(world)] == ["subnet-1", "subnet-2"]


def test_a_description_is_short(world: Store) -> None:
    create(world, "10.1.0.0/16", Description="d" * 255)
    with refused("InvalidParameterValue", "255"):
        create(world, "10.2.0.0/16", Description="d" * 256)


def test_an_association_has_so_many_routes(world: Store) -> None:
    add_route(world, origin="associate")
    create(world, "10.1.0.0/16", settings=with_quota(2))
    with refused("ClientVpnRouteLimitExceeded", "the limit is 2"):
        create(world, "10.2.0.0/16", settings=with_quota(2))
    create(world, "10.20.0.0/22", "local", settings=with_quota(2))
    remove(world, "10.1.0.0/16")
    create(world, "10.2.0.0/16", settings=with_quota(2))
    with refused("ClientVpnRouteLimitExceeded"):
        create(world, "10.1.0.0/16", settings=with_quota(2))


def test_a_quota_of_zero_is_none(world: Store) -> None:
    create(world, "10.1.0.0/16", settings=with_quota(0))


def test_an_endpoint_has_no_more_destinations_than_it_can_have(world: Store) -> None:
    values: dict[str, Any] = {"endpoint_id": ENDPOINT_ID, "subnet_id": "subnet-1", "association_id": "cvpn-assoc-1"}
    values |= {"origin": "add-route", "status_code": "active", "created_at": NOW}
    rows = [values | {"destination_cidr": f"172.16.{n // 250}.{n % 250}/32"} for n in range(MAX_ROUTES)]
    with world.write() as connection:
        connection.execute(insert(route), rows)
    add_network(world, "subnet-2", cidr="192.168.20.0/24", next_hop="192.168.20.1")
    add_association(world, "cvpn-assoc-2", subnet_id="subnet-2", zone="subnet-2")
    create(world, "172.16.0.1/32", "subnet-2", settings=with_quota(0))
    with refused("ClientVpnRouteLimitExceeded", str(MAX_ROUTES)):
        create(world, "172.17.0.1/32", "subnet-2", settings=with_quota(0))


def test_what_is_over_the_quota_leaves_no_trace(world: Store) -> None:
    create(world, "10.1.0.0/16")
    remove(world, "10.1.0.0/16")
    create(world, "10.2.0.0/16")
    before = described(world)
    with refused("ClientVpnRouteLimitExceeded"):
        create(world, "10.1.0.0/16", settings=with_quota(1))
    assert described(world) == before


def test_a_deleted_route_is_shown_until_it_is_gone(world: Store) -> None:
    create(world, "0.0.0.0/0")
    assert remove(world, "0.0.0.0/0") == {"Status": {"Code": "deleting"}}
    assert [one["Status"] for one in described(world)] == [{"Code": "deleting"}]


def test_deleting_twice_changes_nothing(world: Store) -> None:
    create(world, "0.0.0.0/0")
    remove(world, "0.0.0.0/0")
    names = {"DestinationCidrBlock": "0.0.0.0/0", "TargetVpcSubnetId": "subnet-1"}
    reply, call = invoke_for_audit(world, "DeleteClientVpnRoute", ClientVpnEndpointId=ENDPOINT_ID, **names)
    assert reply == {"Status": {"Code": "deleting"}}
    assert call.before == call.after
    assert not call.affects_gateways


def test_a_route_that_is_being_deleted_is_made_anew(world: Store) -> None:
    create(world, "0.0.0.0/0", Description="old")
    remove(world, "0.0.0.0/0")
    assert create(world, "0.0.0.0/0", Description="new") == {"Status": {"Code": "creating"}}
    assert [(one["Description"], one["Status"]) for one in described(world)] == [("new", {"Code": "creating"})]


def test_an_automatic_route_goes_with_its_association_only(world: Store) -> None:
    add_route(world, origin="associate")
    with refused("InvalidParameterValue", "Disassociate"):
        remove(world, "192.168.10.0/24")
    with refused("InvalidClientVpnDuplicateRoute"):
        create(world, "192.168.10.0/24")


def test_what_is_not_there_cannot_be_deleted(world: Store) -> None:
    create(world, "10.1.0.0/16")
    for destination, target in (("10.2.0.0/16", "subnet-1"), ("10.1.0.0/16", "local"), ("10.2.0.0/16", None)):
        with refused("InvalidClientVpnRouteNotFound", destination):
            remove(world, destination, target)


def test_a_route_needs_no_target_to_be_deleted_where_there_is_one(world: Store) -> None:
    add_network(world, "subnet-2", cidr="192.168.20.0/24", next_hop="192.168.20.1")
    add_association(world, "cvpn-assoc-2", subnet_id="subnet-2", zone="subnet-2")
    create(world, "10.1.0.0/16")
    create(world, "10.2.0.0/16")
    create(world, "10.2.0.0/16", "subnet-2")
    assert remove(world, "10.1.0.0/16", None) == {"Status": {"Code": "deleting"}}
    with refused("MissingParameter", "subnet-1, subnet-2"):
        remove(world, "10.2.0.0/16", None)


@pytest.mark.parametrize("change", [create, remove])
def test_only_endpoints_that_last_and_are_not_a_files_change(store: Store, change: Any) -> None:
    add_endpoint(store, status_code="deleting")
    add_file_endpoint(store)
    with refused("IncorrectState"):
        change(store, "0.0.0.0/0")
    with refused("UnsupportedOperation", "/etc/portway/config.toml"):
        change(store, "0.0.0.0/0", ClientVpnEndpointId=FILE_ENDPOINT_ID)
    with refused("InvalidClientVpnEndpointId.NotFound"):
        change(store, "0.0.0.0/0", ClientVpnEndpointId="cvpn-endpoint-2")


def test_routes_are_found_by_filters(world: Store) -> None:
    add_route(world, origin="associate")
    add_route(world, destination_cidr="10.1.0.0/16")
    add_route(world, destination_cidr="10.20.0.0/22", subnet_id="local", association_id=None)
    for name, value, found in (
        ("destination-cidr", "10.1.0.0/16", ["10.1.0.0/16"]),
        ("destination-cidr", "10.*", ["10.1.0.0/16", "10.20.0.0/22"]),
        ("origin", "associate", ["192.168.10.0/24"]),
        ("origin", "add-route", ["10.1.0.0/16", "10.20.0.0/22"]),
        ("target-subnet", "local", ["10.20.0.0/22"]),
    ):
        filters = [{"Name": name, "Values": [value]}]
        assert [one["DestinationCidr"] for one in described(world, Filters=filters)] == found, value


def test_routes_come_in_pages(world: Store) -> None:
    for number in range(7):
        add_route(world, destination_cidr=f"10.{number}.0.0/16")
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "MaxResults": 5}
    first = invoke(world, "DescribeClientVpnRoutes", **parameters)
    second = invoke(world, "DescribeClientVpnRoutes", NextToken=first["NextToken"], **parameters)
    assert (len(first["Routes"]), len(second["Routes"]), second["NextToken"]) == (5, 2, None)


def test_of_two_who_make_a_route_at_once_one_does(world: Store) -> None:
    names = {"DestinationCidrBlock": "0.0.0.0/0", "TargetVpcSubnetId": "subnet-1"}
    calls = [("CreateClientVpnRoute", {"ClientVpnEndpointId": ENDPOINT_ID} | names)] * 2
    assert outcomes_at_once(world, *calls) == ["InvalidClientVpnDuplicateRoute", "ok"]


def test_many_at_once_do_not_get_over_the_quota(world: Store) -> None:
    calls = [
        (
            "CreateClientVpnRoute",
            {
                "ClientVpnEndpointId": ENDPOINT_ID,
                "DestinationCidrBlock": f"10.{number}.0.0/16",
                "TargetVpcSubnetId": "subnet-1",
                "settings": with_quota(3),
            },
        )
        for number in range(6)
    ]
    assert outcomes_at_once(world, *calls) == ["ClientVpnRouteLimitExceeded"] * 3 + ["ok"] * 3


def outcome_of_creating(store: Store, destination: str, target: str) -> str:
    try:
        create(store, destination, target)
    except ActionError as error:
        return error.code
    return "ok"


networks = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
)
near_the_client_range = st.builds(
    lambda address, length: IPv4Network((int(CLIENT_RANGE[0]) - 512 + address, length), strict=False),
    st.integers(0, 2047),
    st.integers(0, 32),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(destination=networks | near_the_client_range, host_bits=st.integers(0, 2**32 - 1), local=st.booleans())
def test_a_route_is_made_exactly_where_it_can_lead(
    world: Store, destination: IPv4Network, host_bits: int, *, local: bool
) -> None:
    """However its host bits are written, and canonical when it is shown."""
    with world.write() as connection:
        connection.execute(delete(route))
    address = destination[host_bits % destination.num_addresses]
    dead = any(destination.subnet_of(part) for part in DEAD)
    if local:
        fits = destination.subnet_of(CLIENT_RANGE)
    else:
        fits = destination.prefixlen == 0 or not destination.overlaps(CLIENT_RANGE)
    outcome = outcome_of_creating(world, f"{address}/{destination.prefixlen}", "local" if local else "subnet-1")
    assert outcome == ("ok" if fits and not dead else "InvalidParameterValue")
    assert [one["DestinationCidr"] for one in described(world)] == ([str(destination)] if outcome == "ok" else [])
