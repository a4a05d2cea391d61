from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import gateway.actions.security_group_rule_changes  # noqa: F401 - registers them
from gateway.actions import Quotas
from tests.unit.gateway.actions.harness import ADMIN, SETTINGS, invoke, invoke_for_audit, refused
from tests.unit.gateway.actions.racing import outcomes_at_once
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    add_association,
    add_endpoint,
    add_network,
    add_security_group,
)

if TYPE_CHECKING:
    from gateway.store import Store

DIRECTIONS = ["Ingress", "Egress"]
HTTPS = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
OURS, THEIRS = "10.0.0.0/8", "192.0.2.0/24"


@pytest.fixture
def world(store: Store) -> Store:
    """Groups without a rule: two in the default VPC, one in another."""
    add_network(store)
    for group_id, vpc_id in (("sg-1", "vpc-1"), ("sg-2", "vpc-1"), ("sg-3", "vpc-2")):
        add_security_group(store, group_id, vpc_id=vpc_id)
    return store


def allow(store: Store, traffic: dict[str, Any], cidr: str = OURS, *, way: str = "Egress", **given: Any) -> str:
    """Make a rule, and return its id."""
    permission = traffic | {"IpRanges": [{"CidrIp": cidr, "Description": "as it was"}]}
    parameters = {"GroupId": "sg-1", "IpPermissions": [permission]}
    (made,) = invoke(store, f"AuthorizeSecurityGroup{way}", **(parameters | given))["SecurityGroupRules"]
    return str(made["SecurityGroupRuleId"])


def modify(store: Store, changes: dict[str, dict[str, Any]], **given: Any) -> None:
    updates = [{"SecurityGroupRuleId": rule_id, "SecurityGroupRule": rule} for rule_id, rule in changes.items()]
    parameters = {"GroupId": "sg-1", "SecurityGroupRules": updates}
    assert invoke(store, "ModifySecurityGroupRules", **(parameters | given)) == {"Return": True}


def rule(store: Store, rule_id: str) -> dict[str, Any]:
    (shape,) = invoke(store, "DescribeSecurityGroupRules", SecurityGroupRuleIds=[rule_id])["SecurityGroupRules"]
    return dict(shape)


def all_rules(store: Store) -> list[dict[str, Any]]:
    return list(invoke(store, "DescribeSecurityGroupRules")["SecurityGroupRules"])


@pytest.mark.parametrize("way", DIRECTIONS)
def test_a_rule_becomes_another_one_with_the_same_id_and_tags(world: Store, way: str) -> None:
    tags = [{"Key": "ticket", "Value": "42"}]
    rule_id = allow(world, HTTPS, way=way, TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": tags}])
    before = rule(world, rule_id)
    modify(world, {rule_id: SSH | {"CidrIpv4": "192.0.2.9/24", "Description": "as it is"}})
    assert rule(world, rule_id) == before | SSH | {"CidrIpv4": THEIRS, "Description": "as it is"}
    assert before["Tags"] == tags


def test_what_is_left_out_of_a_rule_is_not_there_afterwards(world: Store) -> None:
    rule_id = allow(world, HTTPS)
    modify(world, {rule_id: {"IpProtocol": "-1", "CidrIpv4": OURS}})
    shape = rule(world, rule_id)
    assert "Description" not in shape
    assert (shape["IpProtocol"], shape["FromPort"], shape["ToPort"]) == ("-1", -1, -1)


def test_the_other_side_can_become_a_group_and_a_network_again(world: Store) -> None:
    rule_id = allow(world, HTTPS)
    modify(world, {rule_id: HTTPS | {"ReferencedGroupId": "sg-2"}})
    assert rule(world, rule_id)["ReferencedGroupInfo"]["GroupId"] == "sg-2"
    assert "CidrIpv4" not in rule(world, rule_id)
    modify(world, {rule_id: HTTPS | {"CidrIpv4": THEIRS}})
    assert rule(world, rule_id)["CidrIpv4"] == THEIRS


def test_rules_of_both_directions_change_at_once_and_can_change_places(world: Store) -> None:
    https, ssh, ingress = allow(world, HTTPS), allow(world, SSH), allow(world, HTTPS, way="Ingress")
    modify(
        world,
        {
            https: SSH | {"CidrIpv4": OURS},
            ssh: HTTPS | {"CidrIpv4": OURS},
            ingress: SSH | {"CidrIpv4": OURS},
        },
    )
    assert [rule(world, rule_id)["FromPort"] for rule_id in (https, ssh, ingress)] == [22, 443, 22]
    assert [rule(world, rule_id)["IsEgress"] for rule_id in (https, ssh, ingress)] == [True, True, False]


def test_a_rule_may_be_what_it_was(world: Store) -> None:
    rule_id = allow(world, HTTPS)
    modify(world, {rule_id: HTTPS | {"CidrIpv4": OURS, "Description": "as it was"}})
    assert len(all_rules(world)) == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (SSH | {"CidrIpv4": THEIRS}, "InvalidPermission.Duplicate"),
        (SSH, "MissingParameter"),
        ({}, "MissingParameter"),
        ({"CidrIpv4": THEIRS}, "MissingParameter"),
        (HTTPS | {"CidrIpv4": "all"}, "InvalidParameterValue"),
        (HTTPS | {"CidrIpv4": OURS, "ReferencedGroupId": "sg-2"}, "InvalidParameterCombination"),
        (HTTPS | {"CidrIpv6": "::/0"}, "UnsupportedOperation"),
        (HTTPS | {"PrefixListId": "pl-1"}, "UnsupportedOperation"),
        (HTTPS | {"ReferencedGroupId": "sg-3"}, "InvalidGroup.NotFound"),
        (HTTPS | {"ReferencedGroupId": "sg-9"}, "InvalidGroup.NotFound"),
        (HTTPS | {"CidrIpv4": OURS, "Description": "x" * 256}, "InvalidParameterValue"),
    ],
)
def test_one_rule_that_cannot_be_leaves_all_as_they_were(world: Store, changed: dict[str, Any], code: str) -> None:
    good, bad = allow(world, HTTPS), allow(world, HTTPS, THEIRS)
    allow(world, SSH, THEIRS)
    before = all_rules(world)
    with refused(code):
        modify(world, {good: {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "CidrIpv4": OURS}, bad: changed})
    assert all_rules(world) == before


def test_two_rules_cannot_become_the_same(world: Store) -> None:
    first, second = allow(world, HTTPS), allow(world, SSH)
    wanted = HTTPS | {"CidrIpv4": THEIRS}
    with refused("InvalidPermission.Duplicate", THEIRS):
        modify(world, {first: wanted, second: wanted})


def test_only_rules_of_the_group_are_changed(world: Store) -> None:
    other = allow(world, HTTPS, GroupId="sg-2")
    wanted = SSH | {"CidrIpv4": OURS}
    for rule_id, code in (
        (other, "InvalidSecurityGroupRuleId.NotFound"),
        ("sgr-9", "InvalidSecurityGroupRuleId.NotFound"),
        ("nine", "InvalidSecurityGroupRuleId.Malformed"),
    ):
        with refused(code, rule_id):
            modify(world, {rule_id: wanted})
    with refused("InvalidGroup.NotFound"):
        modify(world, {other: wanted}, GroupId="sg-9")
    assert rule(world, other)["FromPort"] == 443


def test_a_call_names_each_rule_once_and_one_at_least(world: Store) -> None:
    rule_id = allow(world, HTTPS)
    again = {"SecurityGroupRuleId": rule_id, "SecurityGroupRule": SSH | {"CidrIpv4": OURS}}
    with refused("InvalidParameterValue", "twice"):
        invoke(world, "ModifySecurityGroupRules", GroupId="sg-1", SecurityGroupRules=[again, again])
    with refused("MissingParameter"):
        modify(world, {})


def test_a_full_group_can_be_changed(world: Store) -> None:
    rule_id = allow(world, HTTPS)
    modify(
        world,
        {rule_id: SSH | {"CidrIpv4": OURS}},
        settings=replace(SETTINGS, quotas=Quotas(rules_per_security_group=1)),
    )
    assert rule(world, rule_id)["FromPort"] == 22


def test_a_group_of_others_endpoints_cannot_be_changed(world: Store) -> None:
    rule_id = allow(world, HTTPS)
    add_endpoint(world, default_security_group_ids=["sg-1"])
    add_association(world)
    stranger = replace(ADMIN, endpoint_ids=frozenset({"cvpn-endpoint-other"}))
    texts = [{"SecurityGroupRuleId": rule_id, "Description": "mine"}]
    with refused("UnauthorizedOperation", status=403):
        modify(world, {rule_id: SSH | {"CidrIpv4": OURS}}, caller=stranger)
    with refused("UnauthorizedOperation", status=403):
        describe(world, caller=stranger, SecurityGroupRuleDescriptions=texts)
    modify(world, {rule_id: SSH | {"CidrIpv4": OURS}}, caller=replace(ADMIN, endpoint_ids=frozenset({ENDPOINT_ID})))


def test_a_changed_rule_is_audited_and_told_to_the_gateways(world: Store) -> None:
    rule_id = allow(world, HTTPS)
    update = {"SecurityGroupRuleId": rule_id, "SecurityGroupRule": SSH | {"CidrIpv4": OURS}}
    _, call = invoke_for_audit(world, "ModifySecurityGroupRules", GroupId="sg-1", SecurityGroupRules=[update])
    assert [group["IpPermissionsEgress"][0]["FromPort"] for group in (call.before, call.after)] == [443, 22]
    assert (call.resource_id, call.affects_gateways) == ("sg-1", True)


def test_of_many_who_turn_rules_into_the_same_one_succeeds(world: Store) -> None:
    ids = [allow(world, HTTPS | {"FromPort": port}) for port in range(1, 5)]
    wanted = SSH | {"CidrIpv4": OURS}
    calls = [
        (
            "ModifySecurityGroupRules",
            {"GroupId": "sg-1", "SecurityGroupRules": [{"SecurityGroupRuleId": one, "SecurityGroupRule": wanted}]},
        )
        for one in ids
    ]
    assert outcomes_at_once(world, *calls) == ["InvalidPermission.Duplicate"] * 3 + ["ok"]


def describe(store: Store, way: str = "Egress", **given: Any) -> None:
    reply = invoke(store, f"UpdateSecurityGroupRuleDescriptions{way}", **({"GroupId": "sg-1"} | given))
    assert reply == {"Return": True}


@pytest.mark.parametrize("way", DIRECTIONS)
def test_a_rule_is_described_by_what_it_allows_or_by_its_id(world: Store, way: str) -> None:
    rule_id, other = allow(world, HTTPS, way=way), allow(world, SSH, way=way)
    describe(
        world, way, IpPermissions=[HTTPS | {"IpRanges": [{"CidrIp": "10.9.9.9/8", "Description": "by what it allows"}]}]
    )
    assert rule(world, rule_id)["Description"] == "by what it allows"
    describe(world, way, SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": rule_id, "Description": "by its id"}])
    assert rule(world, rule_id)["Description"] == "by its id"
    assert rule(world, other)["Description"] == "as it was"


def test_a_description_that_is_left_out_is_removed(world: Store) -> None:
    first, second = allow(world, HTTPS), allow(world, SSH)
    describe(world, IpPermissions=[HTTPS | {"IpRanges": [{"CidrIp": OURS}]}])
    describe(world, SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": second}])
    assert [one for one in (first, second) if "Description" in rule(world, one)] == []


def test_one_rule_that_is_not_there_leaves_all_descriptions(world: Store) -> None:
    egress, ingress = allow(world, HTTPS), allow(world, SSH, way="Ingress")
    ranges = {"IpRanges": [{"CidrIp": OURS, "Description": "new"}]}
    for rule_id, code in (
        (ingress, "InvalidSecurityGroupRuleId.NotFound"),
        ("nine", "InvalidSecurityGroupRuleId.Malformed"),
    ):
        texts = [{"SecurityGroupRuleId": one, "Description": "new"} for one in (egress, rule_id)]
        with refused(code):
            describe(world, SecurityGroupRuleDescriptions=texts)
    for permission in (SSH | ranges, HTTPS | {"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}):
        with refused("InvalidPermission.NotFound"):
            describe(world, IpPermissions=[HTTPS | ranges, permission])
    assert rule(world, egress)["Description"] == "as it was"


def test_what_describes_nothing_or_too_much_is_refused(world: Store) -> None:
    rule_id = allow(world, HTTPS)
    texts = [{"SecurityGroupRuleId": rule_id, "Description": "new"}]
    with refused("MissingParameter"):
        describe(world)
    with refused("InvalidParameterCombination"):
        describe(world, SecurityGroupRuleDescriptions=texts, IpPermissions=[HTTPS | {"IpRanges": [{"CidrIp": OURS}]}])
    with refused("InvalidParameterValue", "256"):
        describe(world, SecurityGroupRuleDescriptions=[texts[0] | {"Description": "x" * 256}])


def test_descriptions_are_audited(world: Store) -> None:
    rule_id = allow(world, HTTPS)
    texts = [{"SecurityGroupRuleId": rule_id, "Description": "new"}]
    _, call = invoke_for_audit(
        world, "UpdateSecurityGroupRuleDescriptionsEgress", GroupName="sg-1", SecurityGroupRuleDescriptions=texts
    )
    ranges = [group["IpPermissionsEgress"][0]["IpRanges"] for group in (call.before, call.after)]
    assert ranges == [[{"CidrIp": OURS, "Description": text}] for text in ("as it was", "new")]
    assert call.resource_id == "sg-1"
