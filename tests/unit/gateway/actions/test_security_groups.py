from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, update

import gateway.actions.associations  # registers them
import gateway.actions.security_group_rules  # noqa: F401 - registers them
from gateway.actions import Quotas
from gateway.actions.security_groups import default_group
from gateway.store.schema import association, association_security_group, endpoint, tag
from tests.unit.gateway.actions.harness import NOW, SETTINGS, invoke, invoke_for_audit, limited_to, refused
from tests.unit.gateway.actions.racing import outcomes_at_once
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    FILE_ENDPOINT_ID,
    add_association,
    add_endpoint,
    add_file_endpoint,
    add_network,
    add_security_group,
)

if TYPE_CHECKING:
    from gateway.store import Store

OTHER_ENDPOINT = "cvpn-endpoint-00000000000000002"
ALLOW_ALL = {
    "IpProtocol": "-1",
    "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
    "Ipv6Ranges": [],
    "PrefixListIds": [],
    "UserIdGroupPairs": [],
}


@pytest.fixture
def world(store: Store) -> Store:
    """The default VPC and another one."""
    add_network(store)
    add_network(store, "subnet-2", vpc_id="vpc-2", vpc_name="lab", cidr="192.168.20.0/24")
    return store


def create(store: Store, name: str = "web", **given: Any) -> str:
    parameters = {"GroupName": name, "Description": "for the web", "VpcId": "vpc-1"}
    return str(invoke(store, "CreateSecurityGroup", **(parameters | given))["GroupId"])


def described(store: Store, **given: Any) -> list[dict[str, Any]]:
    return list(invoke(store, "DescribeSecurityGroups", **given)["SecurityGroups"])


def names(store: Store, **given: Any) -> set[str]:
    return {shape["GroupName"] for shape in described(store, **given)}


def filtering(name: str, *values: str) -> dict[str, Any]:
    return {"Filters": [{"Name": name, "Values": list(values)}]}


def carry(store: Store, *group_ids: str, association_id: str = "cvpn-assoc-1") -> None:
    rows = [
        {"association_id": association_id, "group_id": group_id, "position": position}
        for position, group_id in enumerate(group_ids)
    ]
    with store.write() as connection:
        connection.execute(insert(association_security_group), rows)


def carried(store: Store, association_id: str = "cvpn-assoc-1") -> list[str]:
    table = association_security_group.c
    with store.read() as connection:
        query = select(table.group_id).where(table.association_id == association_id).order_by(table.position)
        return list(connection.scalars(query))


# Making


def test_a_new_group_lets_clients_everywhere_and_nothing_to_them(world: Store) -> None:
    group_id = create(world)
    (shape,) = described(world)
    assert shape == {
        "GroupId": group_id,
        "SecurityGroupArn": f"arn:aws:ec2:here:123456789012:security-group/{group_id}",
        "GroupName": "web",
        "Description": "for the web",
        "VpcId": "vpc-1",
        "OwnerId": "123456789012",
        "IpPermissions": [],
        "IpPermissionsEgress": [ALLOW_ALL],
        "Tags": [],
    }


def test_without_a_vpc_it_is_the_default_one(world: Store) -> None:
    create(world, VpcId=None)
    assert described(world)[0]["VpcId"] == "vpc-1"


def test_without_a_default_vpc_one_has_to_be_named(store: Store) -> None:
    with refused("VPCIdNotSpecified", "VpcId"):
        create(store, VpcId=None)
    with refused("InvalidVpcID.NotFound", "vpc-9"):
        create(store, VpcId="vpc-9")


def test_a_name_is_there_once_in_a_vpc(world: Store) -> None:
    create(world)
    create(world, VpcId="vpc-2")
    with refused("InvalidGroup.Duplicate", "'web'"):
        create(world)
    with refused("InvalidGroup.Duplicate"):
        create(world, "web ")


@pytest.mark.parametrize("name", ["", " ", "sg-web", "default", "é", "x" * 256, "a\n"])
def test_a_name_that_aws_does_not_take_is_refused(world: Store, name: str) -> None:
    with refused("InvalidParameterValue"):
        create(world, name)


@pytest.mark.parametrize("text", ["", "é", "x" * 256])
def test_a_description_that_aws_does_not_take_is_refused(world: Store, text: str) -> None:
    with refused("InvalidParameterValue", "Description"):
        create(world, Description=text)


def test_the_quota_counts_all_groups(world: Store) -> None:
    limited = replace(SETTINGS, quotas=Quotas(security_groups=1))
    create(world, settings=limited)
    with refused("SecurityGroupLimitExceeded", "limit"):
        create(world, "dns", settings=limited)
    create(world, "dns", settings=replace(SETTINGS, quotas=Quotas(security_groups=0)))


def test_a_group_is_made_with_its_tags(world: Store) -> None:
    tags = [{"Key": "Name", "Value": "front"}]
    made = invoke(
        world,
        "CreateSecurityGroup",
        GroupName="web",
        Description="d",
        TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
    )
    assert made["Tags"] == tags
    assert described(world, **filtering("tag:Name", "front"))[0]["Tags"] == tags


def test_of_many_who_make_the_same_group_one_succeeds(world: Store) -> None:
    call = ("CreateSecurityGroup", {"GroupName": "web", "Description": "for the web", "VpcId": "vpc-1"})
    assert outcomes_at_once(world, *[call] * 6) == ["InvalidGroup.Duplicate"] * 5 + ["ok"]


# The default group


def test_a_vpc_has_its_default_group_once(world: Store) -> None:
    with world.write() as connection:
        first, again = (default_group(connection, "vpc-1", NOW) for _ in range(2))
        other = default_group(connection, "vpc-2", NOW)
    assert first == again != other
    (shape,) = described(world, GroupIds=[first])
    assert (shape["GroupName"], shape["IpPermissionsEgress"]) == ("default", [ALLOW_ALL])


def test_the_default_group_cannot_be_deleted(world: Store) -> None:
    with world.write() as connection:
        group_id = default_group(connection, "vpc-1", NOW)
    with refused("CannotDelete", "default"):
        invoke(world, "DeleteSecurityGroup", GroupId=group_id)


# Deleting


def test_a_group_is_deleted_by_id_or_in_the_default_vpc_by_name(world: Store) -> None:
    group_id = create(world)
    assert invoke(world, "DeleteSecurityGroup", GroupId=group_id) == {"Return": True, "GroupId": group_id}
    create(world)
    invoke(world, "DeleteSecurityGroup", GroupName="web")
    assert described(world) == []


def test_with_a_group_its_rules_and_all_tags_go(world: Store) -> None:
    group_id = create(world, TagSpecifications=[{"ResourceType": "security-group", "Tags": [{"Key": "a"}]}])
    invoke(
        world,
        "AuthorizeSecurityGroupEgress",
        GroupId=group_id,
        IpPermissions=[{"IpProtocol": "47", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}],
        TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": [{"Key": "b"}]}],
    )
    invoke(world, "DeleteSecurityGroup", GroupId=group_id)
    assert invoke(world, "DescribeSecurityGroupRules")["SecurityGroupRules"] == []
    with world.read() as connection:
        assert connection.execute(select(tag)).all() == []


def test_a_group_that_filters_something_cannot_be_deleted(world: Store) -> None:
    group_id = create(world)
    add_endpoint(world)
    add_association(world)
    carry(world, group_id)
    with refused("DependencyViolation", ENDPOINT_ID):
        invoke(world, "DeleteSecurityGroup", GroupId=group_id)
    with refused("UnauthorizedOperation", "used by others", status=403):
        invoke(world, "DeleteSecurityGroup", GroupId=group_id, caller=limited_to(OTHER_ENDPOINT))


def test_a_group_that_an_endpoint_will_use_cannot_be_deleted(world: Store) -> None:
    group_id = create(world)
    add_endpoint(world, default_security_group_ids=[group_id])
    with refused("DependencyViolation", ENDPOINT_ID):
        invoke(world, "DeleteSecurityGroup", GroupId=group_id)


def test_a_group_that_a_rule_of_another_names_cannot_be_deleted(world: Store) -> None:
    group_id, other = create(world), create(world, "other")
    permission = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group_id}]}
    for each in (group_id, other):
        invoke(world, "AuthorizeSecurityGroupIngress", GroupId=each, IpPermissions=[permission])
    with refused("DependencyViolation", other):
        invoke(world, "DeleteSecurityGroup", GroupId=group_id)
    invoke(world, "DeleteSecurityGroup", GroupId=other)
    invoke(world, "DeleteSecurityGroup", GroupId=group_id)


def test_what_has_ended_does_not_keep_a_group(world: Store) -> None:
    group_id = create(world)
    add_endpoint(world, default_security_group_ids=[group_id])
    add_association(world)
    carry(world, group_id)
    with world.write() as connection:
        connection.execute(update(association).values(ended_at=NOW))
        connection.execute(update(endpoint).values(ended_at=NOW))
    invoke(world, "DeleteSecurityGroup", GroupId=group_id)
    assert described(world) == []


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, "MissingParameter"),
        ({"GroupId": "sg-1", "GroupName": "web"}, "InvalidParameterCombination"),
        ({"GroupId": "web"}, "InvalidGroupId.Malformed"),
        ({"GroupId": "sg-1\n"}, "InvalidGroupId.Malformed"),
        ({"GroupId": "sg-1"}, "InvalidGroup.NotFound"),
        ({"GroupName": "web"}, "InvalidGroup.NotFound"),
    ],
)
def test_a_group_that_is_not_there_cannot_be_named(world: Store, given: dict[str, str], code: str) -> None:
    with refused(code):
        invoke(world, "DeleteSecurityGroup", **given)


# Listing


def test_groups_are_found_by_id_and_by_name(world: Store) -> None:
    web, _, lab = create(world), create(world, "dns"), create(world, "lab", VpcId="vpc-2")
    assert names(world) == {"web", "dns", "lab"}
    assert names(world, GroupIds=[web, lab, web]) == {"web", "lab"}
    assert names(world, GroupNames=["dns"]) == {"dns"}
    with refused("InvalidGroup.NotFound", "'lab'"):
        names(world, GroupNames=["lab"])
    with refused("InvalidGroup.NotFound", "sg-9"):
        names(world, GroupIds=["sg-9"])
    with refused("InvalidGroupId.Malformed", "nine"):
        names(world, GroupIds=["nine"])


FILTERS = [
    ("group-name", "w*"),
    ("vpc-id", "vpc-1"),
    ("description", "for the *"),
    ("owner-id", "123456789012"),
    ("ip-permission.protocol", "tcp"),
    ("ip-permission.from-port", "443"),
    ("ip-permission.to-port", "44?"),
    ("ip-permission.cidr", "10.0.0.0/8"),
    ("ip-permission.group-id", "sg-*"),
    ("egress.ip-permission.cidr", "0.0.0.0/0"),
    ("egress.ip-permission.protocol", "-1"),
]


@pytest.mark.parametrize(("name", "value"), FILTERS)
def test_groups_are_filtered(world: Store, name: str, value: str) -> None:
    group_id = create(world)
    permission = {
        "IpProtocol": "tcp",
        "FromPort": 443,
        "ToPort": 443,
        "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
        "UserIdGroupPairs": [{"GroupId": group_id}],
    }
    invoke(world, "AuthorizeSecurityGroupIngress", GroupId=group_id, IpPermissions=[permission])
    assert names(world, **filtering(name, value)) == {"web"}
    assert names(world, **filtering(name, "nothing")) == set()


def test_the_groups_of_a_vpc_are_listed_without_their_rules(world: Store) -> None:
    tags = [{"Key": "team", "Value": "web"}]
    made = create(world, TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}])
    create(world, VpcId="vpc-2")
    listed = {"GroupName": "web", "Description": "for the web", "OwnerId": "123456789012", "Tags": tags}
    for filters in ({}, filtering("primary-vpc-id", "vpc-1"), filtering("tag:team", "web")):
        reply = invoke(world, "GetSecurityGroupsForVpc", VpcId="vpc-1", **filters)
        assert reply["SecurityGroupForVpcs"] == [{"GroupId": made, "PrimaryVpcId": "vpc-1", **listed}]
    with refused("InvalidVpcID.NotFound", "vpc-9"):
        invoke(world, "GetSecurityGroupsForVpc", VpcId="vpc-9")


def test_an_unknown_filter_is_refused(world: Store) -> None:
    with refused("InvalidParameterValue", "colour"):
        names(world, **filtering("colour", "red"))


def test_groups_come_in_pages(world: Store) -> None:
    for number in range(7):
        create(world, f"group {number}")
    first = invoke(world, "DescribeSecurityGroups", MaxResults=5)
    rest = invoke(world, "DescribeSecurityGroups", MaxResults=5, NextToken=first["NextToken"])
    seen = {shape["GroupName"] for page in (first, rest) for shape in page["SecurityGroups"]}
    assert len(first["SecurityGroups"]) == 5
    assert len(seen) == 7
    assert rest["NextToken"] is None


# Applying


@pytest.fixture
def associated(world: Store) -> Store:
    """An endpoint with two associations, and three groups in its VPC."""
    add_network(world, "subnet-3", cidr="192.168.30.0/24")
    add_endpoint(world, vpc_id="vpc-1")
    add_association(world)
    add_association(world, "cvpn-assoc-3", subnet_id="subnet-3", zone="subnet-3")
    for group_id in ("sg-1", "sg-2", "sg-3"):
        add_security_group(world, group_id)
    return world


def apply(store: Store, *group_ids: str, **given: Any) -> dict[str, Any]:
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "VpcId": "vpc-1", "SecurityGroupIds": list(group_ids)}
    return invoke(store, "ApplySecurityGroupsToClientVpnTargetNetwork", **(parameters | given))


def test_groups_are_replaced_for_all_target_networks_and_those_to_come(associated: Store) -> None:
    carry(associated, "sg-3")
    assert apply(associated, "sg-2", "sg-1") == {"SecurityGroupIds": ["sg-2", "sg-1"]}
    assert carried(associated) == carried(associated, "cvpn-assoc-3") == ["sg-2", "sg-1"]
    with associated.read() as connection:
        assert connection.scalar(select(endpoint.c.default_security_group_ids)) == ["sg-2", "sg-1"]
    apply(associated, "sg-3")
    assert carried(associated) == ["sg-3"]


def test_a_change_of_groups_is_audited_and_told_to_the_gateways(associated: Store) -> None:
    before = associated.counter()
    _, call = invoke_for_audit(
        associated,
        "ApplySecurityGroupsToClientVpnTargetNetwork",
        ClientVpnEndpointId=ENDPOINT_ID,
        VpcId="vpc-1",
        SecurityGroupIds=["sg-1"],
    )
    assert (call.before, call.after, call.affects_gateways) == ([], ["sg-1"], True)
    assert associated.counter() > before


@pytest.mark.parametrize(
    ("group_ids", "given", "code"),
    [
        ([], {}, "MissingParameter"),
        (["sg-1"], {"VpcId": "vpc-2"}, "InvalidVpcID.NotFound"),
        (["sg-9"], {}, "InvalidSecurityGroupID.NotFound"),
        (["sg-1", "sg-1"], {}, "InvalidParameterValue"),
        (["sg-1", "sg-2", "sg-4"], {}, "SecurityGroupsPerInterfaceLimitExceeded"),
        (["sg-1"], {"ClientVpnEndpointId": OTHER_ENDPOINT}, "InvalidClientVpnEndpointId.NotFound"),
        (["sg-1"], {"ClientVpnEndpointId": FILE_ENDPOINT_ID}, "UnsupportedOperation"),
    ],
)
def test_groups_that_cannot_be_applied_change_nothing(
    associated: Store, group_ids: list[str], given: dict[str, Any], code: str
) -> None:
    add_file_endpoint(associated)
    carry(associated, "sg-3")
    quotas = Quotas(security_groups_per_association=2)
    with refused(code):
        apply(associated, *group_ids, settings=replace(SETTINGS, quotas=quotas), **given)
    assert carried(associated) == ["sg-3"]


def test_who_may_know_of_certain_endpoints_changes_no_group_of_others(associated: Store) -> None:
    add_endpoint(associated, OTHER_ENDPOINT, client_cidr_block="10.40.0.0/22")
    apply(associated, "sg-1")
    permission = {"IpProtocol": "47", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    for group_id, allowed in (("sg-1", False), ("sg-2", True)):
        given: dict[str, Any] = {"GroupId": group_id, "IpPermissions": [permission]}
        if allowed:
            invoke(associated, "AuthorizeSecurityGroupEgress", caller=limited_to(OTHER_ENDPOINT), **given)
        else:
            with refused("UnauthorizedOperation", "used by others", status=403):
                invoke(associated, "AuthorizeSecurityGroupEgress", caller=limited_to(OTHER_ENDPOINT), **given)
    invoke(
        associated,
        "AuthorizeSecurityGroupEgress",
        caller=limited_to(ENDPOINT_ID),
        GroupId="sg-1",
        IpPermissions=[permission],
    )
