from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import gateway.actions.account  # noqa: F401 - registers them
from gateway.actions import Quotas
from tests.unit.gateway.actions.harness import SETTINGS, invoke, refused
from tests.unit.gateway.actions.rows import add_network

if TYPE_CHECKING:
    from gateway.store import Store


def attributes(store: Store, *names: str, **given: Any) -> dict[str, list[str]]:
    asked = {"AttributeNames": list(names)} if names else {}
    found = invoke(store, "DescribeAccountAttributes", **asked, **given)["AccountAttributes"]
    return {one["AttributeName"]: [value["AttributeValue"] for value in one["AttributeValues"]] for one in found}


def test_an_account_has_vpcs_and_one_that_is_meant(store: Store) -> None:
    add_network(store, vpc_id="vpc-1", vpc_name="main")
    assert attributes(store) == {
        "supported-platforms": ["VPC"],
        "default-vpc": ["vpc-1"],
        "vpc-max-security-groups-per-interface": ["5"],
    }


def test_without_a_vpc_that_is_meant_there_is_none(store: Store) -> None:
    add_network(store, vpc_id="vpc-2", vpc_name="lab")
    assert attributes(store, "default-vpc", "default-vpc") == {"default-vpc": ["none"]}


def test_what_there_is_not_or_has_no_limit_is_left_out(store: Store) -> None:
    unlimited = replace(SETTINGS, quotas=Quotas(security_groups_per_association=0))
    names = ("max-instances", "vpc-max-security-groups-per-interface", "supported-platforms")
    assert attributes(store, *names, settings=unlimited) == {"supported-platforms": ["VPC"]}


def test_there_is_the_region_of_the_configuration(store: Store) -> None:
    here = {"RegionName": "here", "OptInStatus": "opt-in-not-required"}
    assert invoke(store, "DescribeRegions")["Regions"] == [here]
    assert invoke(store, "DescribeRegions", RegionNames=["here"], AllRegions=True)["Regions"] == [here]
    with refused("InvalidParameterValue", "us-east-1"):
        invoke(store, "DescribeRegions", RegionNames=["here", "us-east-1"])


@pytest.mark.parametrize(
    ("name", "value", "count"),
    [("region-name", "h*", 1), ("region-name", "us-*", 0), ("opt-in-status", "opt-in-*", 1), ("endpoint", "*", 0)],
)
def test_regions_are_filtered(store: Store, name: str, value: str, count: int) -> None:
    assert len(invoke(store, "DescribeRegions", Filters=[{"Name": name, "Values": [value]}])["Regions"]) == count
