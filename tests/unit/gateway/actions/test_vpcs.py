from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import gateway.actions.vpcs  # noqa: F401 - registers them
from gateway.store.schema import tag
from tests.unit.gateway.actions.harness import ADMIN, invoke, limited_to, refused
from tests.unit.gateway.actions.rows import ENDPOINT_ID, FILE_ENDPOINT_ID, add, add_network

if TYPE_CHECKING:
    from gateway.store import Store

VPC_FILTERS = [
    ("vpc-id", "vpc-2", ["vpc-2"]),
    ("cidr", "10.64.0.0/16", ["vpc-1"]),
    ("cidr", "192.168.10.0/24", []),
    ("cidr-block-association.cidr-block", "192.168.10.0/24", ["vpc-1"]),
    ("cidr-block-association.association-id", "vpc-2/*", ["vpc-2"]),
    ("cidr-block-association.state", "associated", ["vpc-1", "vpc-2"]),
    ("dhcp-options-id", "default", ["vpc-1", "vpc-2"]),
    ("is-default", "true", ["vpc-1"]),
    ("isDefault", "false", ["vpc-2"]),
    ("owner-id", "123456789012", ["vpc-1", "vpc-2"]),
    ("state", "pending", []),
    ("tag:Name", "la*", ["vpc-2"]),
    ("tag-key", "team", []),
]
SUBNET_FILTERS = [
    ("subnet-id", "subnet-b", "b"),
    ("subnet-arn", "*/subnet-c", "c"),
    ("vpc-id", "vpc-1", "ab"),
    ("cidr", "10.64.0.0/16", "b"),
    ("cidr-block", "10.64.0.0/16", "b"),
    ("cidrBlock", "10.64.*", "b"),
    ("availability-zone", "hall", "c"),
    ("availabilityZone", "hall", "c"),
    ("availability-zone-id", "office", "a"),
    ("availabilityZoneId", "office", "a"),
    ("available-ip-address-count", "254", "a"),
    ("default-for-az", "true", ""),
    ("defaultForAz", "false", "abc"),
    ("ipv6-native", "false", "abc"),
    ("map-public-ip-on-launch", "false", "abc"),
    ("owner-id", "123456789012", "abc"),
    ("state", "available", "abc"),
    ("tag:Name", "plant", "b"),
    ("tag-value", "lab", "c"),
]
ZONE_FILTERS = [
    ("zone-name", "h*", ["hall"]),
    ("zone-id", "plant", ["plant"]),
    ("zone-type", "local-zone", []),
    ("region-name", "here", ["hall", "office", "plant"]),
    ("group-name", "there", []),
    ("opt-in-status", "opt-in-not-required", ["hall", "office", "plant"]),
    ("state", "available", ["hall", "office", "plant"]),
]


@pytest.fixture
def world(store: Store) -> Store:
    """Two VPCs, one of them with two networks; all of `lab` is in one zone."""
    add_network(store, "subnet-a", name="office", cidr="192.168.10.0/24", zone="office")
    add_network(store, "subnet-b", name="plant", cidr="10.64.0.0/16", zone="plant")
    add_network(store, "subnet-c", name="lab", cidr="172.16.0.0/30", zone="hall", vpc_id="vpc-2", vpc_name="lab")
    return store


def vpcs(store: Store, **given: Any) -> list[dict[str, Any]]:
    return list(invoke(store, "DescribeVpcs", **given)["Vpcs"])


def subnets(store: Store, **given: Any) -> list[dict[str, Any]]:
    return list(invoke(store, "DescribeSubnets", **given)["Subnets"])


def zones(store: Store, **given: Any) -> list[dict[str, Any]]:
    return list(invoke(store, "DescribeAvailabilityZones", **given)["AvailabilityZones"])


def filtered(name: str, value: str) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [value]}]


def add_tag(store: Store, resource_id: str, key: str, value: str) -> None:
    add(store, tag, resource_id=resource_id, resource_type="subnet", key=key, value=value)


def test_a_vpc_has_the_ranges_of_its_networks_the_widest_first(world: Store) -> None:
    assert vpcs(world)[0] == {
        "VpcId": "vpc-1",
        "OwnerId": "123456789012",
        "State": "available",
        "IsDefault": True,
        "InstanceTenancy": "default",
        "DhcpOptionsId": "default",
        "CidrBlock": "10.64.0.0/16",
        "CidrBlockAssociationSet": [
            {"AssociationId": f"vpc-1/{cidr}", "CidrBlock": cidr, "CidrBlockState": {"State": "associated"}}
            for cidr in ("10.64.0.0/16", "192.168.10.0/24")
        ],
        "Tags": [{"Key": "Name", "Value": "main"}],
    }


def test_ranges_that_meet_are_one(store: Store) -> None:
    add_network(store, "subnet-a", cidr="10.1.1.0/24")
    add_network(store, "subnet-b", cidr="10.1.0.0/24")
    assert [vpc["CidrBlock"] for vpc in vpcs(store)] == ["10.1.0.0/23"]


def test_a_subnet_is_a_network(world: Store) -> None:
    assert subnets(world)[0] == {
        "SubnetId": "subnet-a",
        "SubnetArn": "arn:aws:ec2:here:123456789012:subnet/subnet-a",
        "VpcId": "vpc-1",
        "OwnerId": "123456789012",
        "State": "available",
        "CidrBlock": "192.168.10.0/24",
        "AvailableIpAddressCount": 254,
        "AvailabilityZone": "office",
        "AvailabilityZoneId": "office",
        "DefaultForAz": False,
        "MapPublicIpOnLaunch": False,
        "AssignIpv6AddressOnCreation": False,
        "Ipv6Native": False,
        "Tags": [{"Key": "Name", "Value": "office"}],
    }


@pytest.mark.parametrize(("cidr", "addresses"), [("10.0.0.0/30", 2), ("10.0.0.0/31", 1), ("10.0.0.0/32", 1)])
def test_a_small_network_has_an_address_at_least(store: Store, cidr: str, addresses: int) -> None:
    add_network(store, cidr=cidr)
    assert [one["AvailableIpAddressCount"] for one in subnets(store)] == [addresses]


def test_a_zone_is_shown_once(world: Store) -> None:
    add_network(world, "subnet-d", cidr="172.17.0.0/24", zone="hall")
    assert [one["ZoneName"] for one in zones(world)] == ["hall", "office", "plant"]
    assert zones(world)[0] == {
        "ZoneName": "hall",
        "ZoneId": "hall",
        "ZoneType": "availability-zone",
        "RegionName": "here",
        "GroupName": "here",
        "NetworkBorderGroup": "here",
        "OptInStatus": "opt-in-not-required",
        "State": "available",
        "Messages": [],
    }


def test_without_networks_there_is_nothing(store: Store) -> None:
    assert vpcs(store) == subnets(store) == zones(store) == []


def test_tags_are_shown_beside_the_name_which_may_be_another(world: Store) -> None:
    add_tag(world, "subnet-a", "team", "blue")
    add_tag(world, "subnet-b", "Name", "Plant II")
    add_tag(world, "vpc-2", "team", "red")
    named = {"Key": "Name", "Value": "office"}, {"Key": "team", "Value": "blue"}
    assert [tuple(one["Tags"]) for one in subnets(world)][:2] == [named, ({"Key": "Name", "Value": "Plant II"},)]
    assert vpcs(world)[1]["Tags"] == [{"Key": "Name", "Value": "lab"}, {"Key": "team", "Value": "red"}]


def test_vpcs_are_found_by_filters(world: Store) -> None:
    for name, value, found in VPC_FILTERS:
        assert [one["VpcId"] for one in vpcs(world, Filters=filtered(name, value))] == found, name


def test_subnets_are_found_by_filters(world: Store) -> None:
    for name, value, found in SUBNET_FILTERS:
        assert "".join(one["SubnetId"][-1] for one in subnets(world, Filters=filtered(name, value))) == found, name


def test_zones_are_found_by_filters(world: Store) -> None:
    for name, value, found in ZONE_FILTERS:
        assert [one["ZoneName"] for one in zones(world, Filters=filtered(name, value))] == found, name


def test_what_is_asked_for_by_id_is_shown_alone(world: Store) -> None:
    assert [one["VpcId"] for one in vpcs(world, VpcIds=["vpc-2", "vpc-2"])] == ["vpc-2"]
    assert [one["SubnetId"] for one in subnets(world, SubnetIds=["subnet-c", "subnet-a"])] == ["subnet-a", "subnet-c"]
    assert [one["ZoneName"] for one in zones(world, ZoneNames=["plant", "hall"], ZoneIds=["hall"])] == ["hall"]


@pytest.mark.parametrize(
    ("name", "given", "code"),
    [
        ("DescribeVpcs", {"VpcIds": ["vpc-1", "vpc-3"]}, "InvalidVpcID.NotFound"),
        ("DescribeSubnets", {"SubnetIds": ["subnet-d"]}, "InvalidSubnetID.NotFound"),
        ("DescribeAvailabilityZones", {"ZoneNames": ["moon"]}, "InvalidParameterValue"),
        ("DescribeAvailabilityZones", {"ZoneIds": ["moon"]}, "InvalidParameterValue"),
    ],
)
def test_what_is_not_there_is_not_found(world: Store, name: str, given: dict[str, Any], code: str) -> None:
    with refused(code, "There is no"):
        invoke(world, name, **given)


@pytest.mark.parametrize(("name", "member"), [("DescribeVpcs", "Vpcs"), ("DescribeSubnets", "Subnets")])
def test_lists_come_in_pages(store: Store, name: str, member: str) -> None:
    for number in range(7):
        add_network(store, f"subnet-{number}", cidr=f"10.{number}.0.0/16", vpc_id=f"vpc-{number}")
    first = invoke(store, name, MaxResults=5)
    second = invoke(store, name, MaxResults=5, NextToken=first["NextToken"])
    assert (len(first[member]), len(second[member]), second["NextToken"]) == (5, 2, None)


def test_networks_of_a_files_endpoint_are_shown_to_those_who_may_know_of_it(world: Store) -> None:
    add_network(world, "subnet-f", cidr="172.20.0.0/24", zone="f", vpc_id="vpc-f", file_endpoint_id=FILE_ENDPOINT_ID)
    for caller, sees in ((ADMIN, True), (limited_to(FILE_ENDPOINT_ID), True), (limited_to(ENDPOINT_ID), False)):
        assert any(one["SubnetId"] == "subnet-f" for one in subnets(world, caller=caller)) is sees
        assert any(one["VpcId"] == "vpc-f" for one in vpcs(world, caller=caller)) is sees
        assert any(one["ZoneName"] == "f" for one in zones(world, caller=caller)) is sees


@pytest.mark.parametrize("attribute", ["enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics"])
def test_a_vpc_has_none_of_what_amazon_runs_in_its_own(world: Store, attribute: str) -> None:
    reply = invoke(world, "DescribeVpcAttribute", VpcId="vpc-2", Attribute=attribute)
    assert reply == {"VpcId": "vpc-2", attribute.replace("enable", "Enable"): {"Value": False}}


def test_a_vpc_that_is_not_there_has_no_attributes(world: Store) -> None:
    with refused("InvalidVpcID.NotFound", "vpc-9"):
        invoke(world, "DescribeVpcAttribute", VpcId="vpc-9", Attribute="enableDnsSupport")
