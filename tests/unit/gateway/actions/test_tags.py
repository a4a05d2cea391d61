from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import gateway.actions.tags  # noqa: F401 - registers the actions
from gateway.actions.settings import Quotas
from gateway.store.schema import security_group_rule, tag
from tests.unit.gateway.actions.harness import NOW, SETTINGS, invoke, invoke_for_audit, limited_to, refused
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    FILE_ENDPOINT_ID,
    add,
    add_endpoint,
    add_file_endpoint,
    add_network,
    add_security_group,
)

if TYPE_CHECKING:
    from gateway.store import Store


def pairs(**tags: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def create(store: Store, *resources: str, **tags: str) -> None:
    assert invoke(store, "CreateTags", Resources=list(resources), Tags=pairs(**tags)) == {}


def all_tags_in(store: Store, **parameters: Any) -> list[tuple[str, str, str, str]]:
    listed = invoke(store, "DescribeTags", **parameters)["Tags"]
    return [(one["ResourceId"], one["ResourceType"], one["Key"], one["Value"]) for one in listed]


def tags_in(store: Store, **parameters: Any) -> list[tuple[str, str, str, str]]:
    """Without the names that configuration files give."""
    return [one for one in all_tags_in(store, **parameters) if one[2] != "Name"]


@pytest.fixture(autouse=True)
def objects(store: Store) -> None:
    add_endpoint(store)
    add_file_endpoint(store)
    add_network(store, "subnet-1", vpc_id="vpc-1")
    add_network(store, "subnet-2", vpc_id="vpc-1", cidr="192.168.20.0/24")
    add_security_group(store, "sg-1")
    add(
        store, security_group_rule, id="sgr-1", group_id="sg-1", is_egress=True, protocol="-1", from_port=-1,
        to_port=-1, cidr="0.0.0.0/0", created_at=NOW,
    )  # fmt: skip


def test_everything_that_there_is_can_have_tags(store: Store) -> None:
    create(store, ENDPOINT_ID, FILE_ENDPOINT_ID, "vpc-1", "subnet-1", "sg-1", "sgr-1", team="blue")
    assert tags_in(store) == [
        (ENDPOINT_ID, "client-vpn-endpoint", "team", "blue"),
        (FILE_ENDPOINT_ID, "client-vpn-endpoint", "team", "blue"),
        ("sg-1", "security-group", "team", "blue"),
        ("sgr-1", "security-group-rule", "team", "blue"),
        ("subnet-1", "subnet", "team", "blue"),
        ("vpc-1", "vpc", "team", "blue"),
    ]


def test_a_tag_that_is_there_gets_the_new_value(store: Store) -> None:
    create(store, "vpc-1", a="1", b="2")
    create(store, "vpc-1", b="3")
    assert tags_in(store) == [("vpc-1", "vpc", "a", "1"), ("vpc-1", "vpc", "b", "3")]


@pytest.mark.parametrize(
    ("resource_id", "code"),
    [
        ("cvpn-endpoint-none", "InvalidClientVpnEndpointId.NotFound"),
        ("vpc-none", "InvalidVpcID.NotFound"),
        ("subnet-none", "InvalidSubnetID.NotFound"),
        ("sg-none", "InvalidGroup.NotFound"),
        ("sgr-none", "InvalidSecurityGroupRuleId.NotFound"),
        ("cvpn-assoc-1", "InvalidID"),
        ("i-0123456789", "InvalidID"),
        ("", "InvalidID"),
    ],
)
@pytest.mark.parametrize("name", ["CreateTags", "DeleteTags"])
def test_what_is_not_there_has_no_tags(store: Store, name: str, resource_id: str, code: str) -> None:
    with refused(code, repr(resource_id)):
        invoke(store, name, Resources=["vpc-1", resource_id], Tags=pairs(a="1"))
    assert tags_in(store) == []


def test_what_a_caller_may_not_know_of_is_not_there(store: Store) -> None:
    create(store, ENDPOINT_ID, "vpc-1", team="blue")
    stranger = limited_to("cvpn-endpoint-other")
    with refused("InvalidClientVpnEndpointId.NotFound"):
        invoke(store, "CreateTags", Resources=[ENDPOINT_ID], Tags=pairs(a="1"), caller=stranger)
    assert tags_in(store, caller=stranger) == [("vpc-1", "vpc", "team", "blue")]


@pytest.mark.parametrize("tags", [pairs(**{"aws:a": ""}), [{"Value": "x"}], pairs(a="v" * 257)])
def test_bad_tags_are_refused(store: Store, tags: list[dict[str, str]]) -> None:
    with refused("InvalidParameterValue"):
        invoke(store, "CreateTags", Resources=["vpc-1"], Tags=tags)


def test_one_object_too_many_leaves_all_as_they_were(store: Store) -> None:
    two = replace(SETTINGS, quotas=Quotas(tags_per_resource=2))
    create(store, "vpc-1", a="1", b="2")
    with refused("TagLimitExceeded", "vpc-1"):
        invoke(store, "CreateTags", Resources=["subnet-1", "vpc-1"], Tags=pairs(c="3"), settings=two)
    assert [key for _, _, key, _ in tags_in(store)] == ["a", "b"]


@pytest.mark.parametrize(
    ("named", "left"),
    [
        (None, []),
        ([], []),
        ([{"Key": "a"}], ["b", "empty"]),
        (pairs(a="1"), ["b", "empty"]),
        (pairs(a="2"), ["a", "b", "empty"]),
        (pairs(b=""), ["a", "b", "empty"]),
        (pairs(empty=""), ["a", "b"]),
        ([{"Key": "a"}, {"Key": "b", "Value": "2"}], ["empty"]),
        ([{"Key": "none"}], ["a", "b", "empty"]),
        ([{}], ["a", "b", "empty"]),
    ],
)
def test_tags_are_removed_by_key_by_key_and_value_or_all(
    store: Store, named: list[dict[str, str]] | None, left: list[str]
) -> None:
    create(store, "vpc-1", "subnet-1", a="1", b="2", empty="")
    assert invoke(store, "DeleteTags", Resources=["vpc-1"], Tags=named) == {}
    assert [key for resource, _, key, _ in tags_in(store) if resource == "vpc-1"] == left
    assert [key for resource, _, key, _ in tags_in(store) if resource == "subnet-1"] == ["a", "b", "empty"]


def test_tags_are_removed_however_many_are_named(store: Store) -> None:
    create(store, "vpc-1", k7="1", other="2")
    many = [{"Key": f"k{number}"} | ({"Value": "1"} if number % 2 else {}) for number in range(4000)]
    invoke(store, "DeleteTags", Resources=["vpc-1"], Tags=many)
    assert [key for resource, _, key, _ in tags_in(store) if resource == "vpc-1"] == ["other"]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("key", "te*", [ENDPOINT_ID, "vpc-1"]),
        ("key", "site", ["subnet-1"]),
        ("value", "blue", [ENDPOINT_ID]),
        ("resource-id", "vpc-1", ["vpc-1"]),
        ("resource-type", "client-vpn-endpoint", [ENDPOINT_ID]),
        ("tag:team", "r??", ["vpc-1"]),
    ],
)
def test_tags_are_filtered(store: Store, name: str, value: str, found: list[str]) -> None:
    create(store, ENDPOINT_ID, team="blue")
    create(store, "vpc-1", team="red")
    create(store, "subnet-1", site="here")
    filters = [{"Name": name, "Values": [value]}]
    assert [resource for resource, *_ in tags_in(store, Filters=filters)] == found


def test_names_that_files_give_are_tags_unless_somebody_has_given_another(store: Store) -> None:
    name_of = {"vpc-1": "main", "subnet-1": "subnet-1", "subnet-2": "subnet-2", FILE_ENDPOINT_ID: "office"}
    assert {(resource, value) for resource, *_, value in all_tags_in(store)} == set(name_of.items())
    create(store, "subnet-1", FILE_ENDPOINT_ID, Name="other")
    (tag,) = all_tags_in(store, Filters=[{"Name": "resource-id", "Values": ["subnet-1"]}])
    assert tag == ("subnet-1", "subnet", "Name", "other")
    name_of |= {"subnet-1": "other", FILE_ENDPOINT_ID: "other"}
    assert {(resource, value) for resource, *_, value in all_tags_in(store)} == set(name_of.items())


def test_names_of_what_a_caller_may_not_know_of_are_not_shown(store: Store) -> None:
    add_network(store, "subnet-3", cidr="192.168.30.0/24", vpc_id="vpc-3", file_endpoint_id=FILE_ENDPOINT_ID)
    shown = {resource for resource, *_ in all_tags_in(store, caller=limited_to(ENDPOINT_ID))}
    assert shown == {"vpc-1", "subnet-1", "subnet-2"}


def test_an_unknown_filter_is_refused(store: Store) -> None:
    with refused("InvalidParameterValue", "resource-type"):
        tags_in(store, Filters=[{"Name": "owner", "Values": ["x"]}])


def test_tags_come_in_pages(store: Store) -> None:
    create(store, "vpc-1", **dict.fromkeys("abcdefg", ""))
    letters = [{"Name": "key", "Values": ["?"]}]
    first = invoke(store, "DescribeTags", MaxResults=5, Filters=letters)
    rest = invoke(store, "DescribeTags", MaxResults=5, Filters=letters, NextToken=first["NextToken"])
    assert [one["Key"] for one in first["Tags"] + rest["Tags"]] == list("abcdefg")


def test_tags_of_an_endpoint_that_has_ended_are_not_shown(store: Store) -> None:
    add_endpoint(store, "cvpn-endpoint-old", client_cidr_block="10.1.0.0/16", ended_at=1.0)
    add(store, tag, resource_id="cvpn-endpoint-old", resource_type="client-vpn-endpoint", key="a", value="1")
    assert tags_in(store) == []


def test_no_more_objects_are_tagged_at_once_than_aws_takes(store: Store) -> None:
    with refused("InvalidParameterValue", "1001"):
        invoke(store, "CreateTags", Resources=[f"sg-{number}" for number in range(1001)], Tags=pairs(a="1"))


def test_the_audit_log_learns_all_tags_before_and_after(store: Store) -> None:
    create(store, "vpc-1", a="1")
    _, call = invoke_for_audit(store, "CreateTags", Resources=["vpc-1", "sg-1"], Tags=pairs(b="2"))
    assert call.before == {"vpc-1": pairs(a="1"), "sg-1": []}
    assert call.after == {"vpc-1": pairs(a="1", b="2"), "sg-1": pairs(b="2")}
    assert (call.resource_id, call.affects_gateways) == ("", False), "an entry each is for who writes them"
    _, call = invoke_for_audit(store, "DeleteTags", Resources=["vpc-1"])
    assert (call.before, call.after) == ({"vpc-1": pairs(a="1", b="2")}, {"vpc-1": []})
