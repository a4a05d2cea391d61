from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import gateway.actions.route_tables  # noqa: F401 - registers it
from tests.unit.gateway.actions.harness import invoke, limited_to, refused
from tests.unit.gateway.actions.rows import FILE_ENDPOINT_ID, add_network

if TYPE_CHECKING:
    from gateway.store import Store


@pytest.fixture
def world(store: Store) -> Store:
    """Two VPCs, one of them with two networks that meet."""
    add_network(store, "subnet-a", cidr="192.168.10.0/25")
    add_network(store, "subnet-b", cidr="192.168.10.128/25")
    add_network(store, "subnet-c", cidr="172.16.0.0/30", vpc_id="vpc-2", vpc_name="lab")
    return store


def tables(store: Store, **given: Any) -> list[dict[str, Any]]:
    return list(invoke(store, "DescribeRouteTables", **given)["RouteTables"])


def test_a_vpc_has_the_main_table_that_leads_to_its_own_networks(world: Store) -> None:
    (table, other) = tables(world)
    assert (table["RouteTableId"], table["VpcId"], other["VpcId"]) == ("rtb-1", "vpc-1", "vpc-2")
    assert table["OwnerId"] == "123456789012"
    (association,) = table["Associations"]
    assert (association["Main"], association["AssociationState"]) == (True, {"State": "associated"})
    assert table["Routes"] == [
        {
            "DestinationCidrBlock": "192.168.10.0/24",
            "GatewayId": "local",
            "Origin": "CreateRouteTable",
            "State": "active",
        }
    ]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("association.gateway-id", "*", []),
        ("association.main", "true", ["rtb-1", "rtb-2"]),
        ("association.main", "false", []),
        ("association.route-table-association-id", "rtbassoc-2", ["rtb-2"]),
        ("association.route-table-id", "rtb-1", ["rtb-1"]),
        ("association.subnet-id", "subnet-a", []),
        ("owner-id", "123456789012", ["rtb-1", "rtb-2"]),
        ("route-table-id", "rtb-2", ["rtb-2"]),
        ("route.destination-cidr-block", "172.16.*", ["rtb-2"]),
        ("route.gateway-id", "local", ["rtb-1", "rtb-2"]),
        ("route.origin", "CreateRoute", []),
        ("route.state", "active", ["rtb-1", "rtb-2"]),
        ("vpc-id", "vpc-1", ["rtb-1"]),
        ("tag-key", "*", []),
    ],
)
def test_tables_are_filtered(world: Store, name: str, value: str, found: list[str]) -> None:
    filters = [{"Name": name, "Values": [value]}]
    assert [table["RouteTableId"] for table in tables(world, Filters=filters)] == found


def test_tables_are_found_by_id(world: Store) -> None:
    assert [table["VpcId"] for table in tables(world, RouteTableIds=["rtb-2", "rtb-2"])] == ["vpc-2"]
    with refused("InvalidRouteTableID.NotFound", "rtb-9"):
        tables(world, RouteTableIds=["rtb-1", "rtb-9"])


def test_tables_come_in_pages(world: Store) -> None:
    for number in range(3, 10):
        add_network(world, f"subnet-{number}", cidr=f"10.0.{number}.0/24", vpc_id=f"vpc-{number}")
    first = invoke(world, "DescribeRouteTables", MaxResults=5)
    rest = invoke(world, "DescribeRouteTables", MaxResults=5, NextToken=first["NextToken"])
    shown = [table["VpcId"] for table in first["RouteTables"] + rest["RouteTables"]]
    assert shown == [f"vpc-{number}" for number in range(1, 10)]


def test_networks_that_a_caller_may_not_know_of_are_not_in_them(world: Store) -> None:
    add_network(world, "subnet-d", cidr="10.9.0.0/24", vpc_id="vpc-3", file_endpoint_id=FILE_ENDPOINT_ID)
    assert len(tables(world)) == 3
    assert [table["VpcId"] for table in tables(world, caller=limited_to("cvpn-endpoint-9"))] == ["vpc-1", "vpc-2"]
