from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import gateway.actions.security_group_rules  # noqa: F401 - registers them
from gateway.actions import Quotas
from tests.unit.gateway.actions.harness import SETTINGS, invoke, invoke_for_audit, refused
from tests.unit.gateway.actions.racing import outcomes_at_once
from tests.unit.gateway.actions.rows import add_network, add_security_group

if TYPE_CHECKING:
    from gateway.store import Store

DIRECTIONS = ["Ingress", "Egress"]
HTTPS = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
PING = {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}


@pytest.fixture
def world(store: Store) -> Store:
    """Groups without a rule: two in the default VPC, one in another."""
    add_network(store)
    for group_id, vpc_id in (("sg-1", "vpc-1"), ("sg-2", "vpc-1"), ("sg-3", "vpc-2")):
        add_security_group(store, group_id, vpc_id=vpc_id)
    return store


def authorize(store: Store, *permissions: dict[str, Any], way: str = "Egress", **given: Any) -> list[dict[str, Any]]:
    parameters = {"GroupId": "sg-1", "IpPermissions": list(permissions)}
    reply = invoke(store, f"AuthorizeSecurityGroup{way}", **(parameters | given))
    assert reply["Return"] is True
    return list(reply["SecurityGroupRules"])


def revoke(store: Store, *permissions: dict[str, Any], way: str = "Egress", **given: Any) -> list[dict[str, Any]]:
    parameters = {"GroupId": "sg-1", "IpPermissions": list(permissions)}
    reply = invoke(store, f"RevokeSecurityGroup{way}", **(parameters | given))
    assert (reply["Return"], reply["UnknownIpPermissions"]) == (True, [])
    return list(reply["RevokedSecurityGroupRules"])


def rules(store: Store, **given: Any) -> list[dict[str, Any]]:
    return list(invoke(store, "DescribeSecurityGroupRules", **given)["SecurityGroupRules"])


def described(store: Store) -> dict[str, Any]:
    (shape,) = invoke(store, "DescribeSecurityGroups", GroupIds=["sg-1"])["SecurityGroups"]
    return dict(shape)


def test_a_rule_has_its_direction(world: Store) -> None:
    authorize(world, HTTPS, way="Egress")
    authorize(world, PING, way="Ingress")
    shape = described(world)
    assert [each["IpProtocol"] for each in shape["IpPermissionsEgress"]] == ["tcp"]
    assert [each["IpProtocol"] for each in shape["IpPermissions"]] == ["icmp"]


@pytest.mark.parametrize("way", DIRECTIONS)
def test_a_rule_is_told_as_it_is_listed(world: Store, way: str) -> None:
    described_range = {"CidrIp": "10.0.0.1/8", "Description": "all of ours"}
    (made,) = authorize(world, HTTPS | {"IpRanges": [described_range]}, way=way)
    assert rules(world) == [made]
    assert made == {
        "SecurityGroupRuleId": made["SecurityGroupRuleId"],
        "SecurityGroupRuleArn": f"arn:aws:ec2:here:123456789012:security-group-rule/{made['SecurityGroupRuleId']}",
        "GroupId": "sg-1",
        "GroupOwnerId": "123456789012",
        "IsEgress": way == "Egress",
        "IpProtocol": "tcp",
        "FromPort": 443,
        "ToPort": 443,
        "CidrIpv4": "10.0.0.0/8",
        "Description": "all of ours",
        "Tags": [],
    }


@pytest.mark.parametrize("pair", [{"GroupId": "sg-2"}, {"GroupName": "sg-2"}, {"GroupId": "sg-2", "UserId": ""}])
def test_the_other_side_can_be_a_group_of_the_vpc(world: Store, pair: dict[str, str]) -> None:
    (made,) = authorize(world, {"IpProtocol": "-1", "UserIdGroupPairs": [pair]})
    assert made["ReferencedGroupInfo"] == {"GroupId": "sg-2", "UserId": "123456789012"}
    assert "CidrIpv4" not in made


@pytest.mark.parametrize(
    ("pair", "code"),
    [
        ({"GroupId": "sg-3"}, "InvalidGroup.NotFound"),
        ({"GroupId": "sg-9"}, "InvalidGroup.NotFound"),
        ({"GroupId": "web"}, "InvalidGroupId.Malformed"),
        ({"GroupName": "sg-3"}, "InvalidGroup.NotFound"),
        ({}, "InvalidGroup.NotFound"),
        ({"GroupId": "sg-2", "UserId": "999"}, "InvalidParameterValue"),
    ],
)
def test_the_other_side_cannot_be_a_group_from_elsewhere(world: Store, pair: dict[str, str], code: str) -> None:
    with refused(code):
        authorize(world, {"IpProtocol": "-1", "UserIdGroupPairs": [pair]})


@pytest.mark.parametrize("way", DIRECTIONS)
def test_a_rule_is_there_once_in_each_direction(world: Store, way: str) -> None:
    for each in DIRECTIONS:
        authorize(world, HTTPS, way=each)
    again = HTTPS | {"IpProtocol": "6", "IpRanges": [{"CidrIp": "10.9.9.9/8", "Description": "again"}]}
    with refused("InvalidPermission.Duplicate", "sgr-"):
        authorize(world, PING, again, way=way)
    assert len(rules(world)) == 2


def test_the_quota_is_for_each_direction(world: Store) -> None:
    limited = replace(SETTINGS, quotas=Quotas(rules_per_security_group=1))
    for way in DIRECTIONS:
        authorize(world, HTTPS, way=way, settings=limited)
        with refused("RulesPerSecurityGroupLimitExceeded", "2 rules"):
            authorize(world, PING, way=way, settings=limited)
    authorize(world, PING, settings=replace(SETTINGS, quotas=Quotas(rules_per_security_group=0)))


def test_a_rule_is_made_with_its_tags(world: Store) -> None:
    tags = [{"Key": "ticket", "Value": "42"}]
    specification = [{"ResourceType": "security-group-rule", "Tags": tags}]
    (made,) = authorize(world, HTTPS, TagSpecifications=specification)
    assert made["Tags"] == tags
    assert rules(world, Filters=[{"Name": "tag:ticket", "Values": ["4*"]}]) == [made]


def test_the_flat_parameters_do_as_well(world: Store) -> None:
    flat = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "10.0.0.0/8"}
    authorize(world, way="Ingress", **flat)
    authorize(world, way="Ingress", GroupId=None, GroupName="sg-1", SourceSecurityGroupName="sg-2")
    assert {rule["IpProtocol"] for rule in rules(world)} == {"tcp", "-1"}
    assert [rule["FromPort"] for rule in revoke(world, way="Ingress", **flat)] == [22]


@pytest.mark.parametrize("action", ["Authorize", "Revoke"])
@pytest.mark.parametrize("way", DIRECTIONS)
def test_what_names_nothing_is_refused(world: Store, action: str, way: str) -> None:
    with refused("MissingParameter"):
        invoke(world, f"{action}SecurityGroup{way}", GroupId="sg-1")
    with refused("InvalidGroup.NotFound"):
        invoke(world, f"{action}SecurityGroup{way}", GroupId="sg-9", IpPermissions=[HTTPS])


@pytest.mark.parametrize("way", DIRECTIONS)
def test_a_rule_is_revoked_by_what_it_allows(world: Store, way: str) -> None:
    authorize(world, HTTPS | {"IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "old"}]}, PING, way=way)
    (gone,) = revoke(world, HTTPS, way=way)
    assert (gone["IpProtocol"], gone["CidrIpv4"], gone["IsEgress"]) == ("tcp", "10.0.0.0/8", way == "Egress")
    assert [rule["IpProtocol"] for rule in rules(world)] == ["icmp"]


def test_a_rule_is_revoked_by_its_id(world: Store) -> None:
    (https, ping) = authorize(world, HTTPS, PING)
    revoke(world, SecurityGroupRuleIds=[https["SecurityGroupRuleId"]] * 2)
    assert rules(world) == [ping]


def test_what_is_not_there_cannot_be_revoked_and_then_nothing_is(world: Store) -> None:
    (ingress,) = authorize(world, HTTPS, way="Ingress")
    (https,) = authorize(world, HTTPS)
    with refused("InvalidPermission.NotFound", "icmp"):
        revoke(world, HTTPS, PING)
    for rule_id, code in (
        (ingress["SecurityGroupRuleId"], "InvalidSecurityGroupRuleId.NotFound"),
        ("sgr-9", "InvalidSecurityGroupRuleId.NotFound"),
        ("nine", "InvalidSecurityGroupRuleId.Malformed"),
    ):
        with refused(code):
            revoke(world, SecurityGroupRuleIds=[https["SecurityGroupRuleId"], rule_id])
    with refused("InvalidParameterCombination"):
        revoke(world, HTTPS, SecurityGroupRuleIds=[https["SecurityGroupRuleId"]])
    assert len(rules(world)) == 2


@pytest.mark.parametrize("way", DIRECTIONS)
def test_nothing_that_is_not_ipv4_is_there_to_be_revoked(world: Store, way: str) -> None:
    for other_side in ({"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}, {"PrefixListIds": [{"PrefixListId": "pl-1"}]}):
        with refused("InvalidPermission.NotFound"):
            revoke(world, {"IpProtocol": "-1", "FromPort": 0, "ToPort": 0, **other_side}, way=way)
        with refused("UnsupportedOperation"):
            authorize(world, {"IpProtocol": "-1", **other_side}, way=way)


def test_rules_are_found_by_id_and_by_group(world: Store) -> None:
    (https,) = authorize(world, HTTPS)
    (ping,) = authorize(world, PING, GroupId="sg-2")
    assert rules(world, SecurityGroupRuleIds=[ping["SecurityGroupRuleId"]]) == [ping]
    assert rules(world, Filters=[{"Name": "group-id", "Values": ["sg-1"]}]) == [https]
    by_id = {"Name": "security-group-rule-id", "Values": [ping["SecurityGroupRuleId"]]}
    assert rules(world, Filters=[by_id]) == [ping]
    with refused("InvalidSecurityGroupRuleId.NotFound", "sgr-9"):
        rules(world, SecurityGroupRuleIds=["sgr-9"])
    with refused("InvalidSecurityGroupRuleId.Malformed", "nine"):
        rules(world, SecurityGroupRuleIds=["nine"])


def test_rules_come_in_pages(world: Store) -> None:
    authorize(world, *({**HTTPS, "FromPort": port, "ToPort": port} for port in range(7)))
    first = invoke(world, "DescribeSecurityGroupRules", MaxResults=5)
    rest = invoke(world, "DescribeSecurityGroupRules", MaxResults=5, NextToken=first["NextToken"])
    assert {rule["FromPort"] for page in (first, rest) for rule in page["SecurityGroupRules"]} == set(range(7))


def test_a_changed_rule_is_audited_and_told_to_the_gateways(world: Store) -> None:
    counter = world.counter()
    _, made = invoke_for_audit(world, "AuthorizeSecurityGroupEgress", GroupId="sg-1", IpPermissions=[HTTPS])
    _, gone = invoke_for_audit(world, "RevokeSecurityGroupEgress", GroupId="sg-1", IpPermissions=[HTTPS])
    assert made.before == gone.after
    assert made.after == gone.before
    assert made.before != made.after
    assert {made.resource_id, gone.resource_id} == {"sg-1"}
    assert world.counter() >= counter + 2


def test_of_many_who_make_the_same_rule_one_succeeds(world: Store) -> None:
    call = ("AuthorizeSecurityGroupEgress", {"GroupId": "sg-1", "IpPermissions": [HTTPS]})
    assert outcomes_at_once(world, *[call] * 6) == ["InvalidPermission.Duplicate"] * 5 + ["ok"]
