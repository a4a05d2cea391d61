"""What manages security groups elsewhere, boto3 as it comes, manages them here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.gateway.actions.rows import ENDPOINT_ID, add_association, add_endpoint, add_network

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.api.site import ApiSite

ALLOW_ALL = {
    "IpProtocol": "-1",
    "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
    "Ipv6Ranges": [],
    "PrefixListIds": [],
    "UserIdGroupPairs": [],
}


@pytest.fixture
def ec2(site: ApiSite, store: Store) -> Any:
    """A client, where there is an endpoint with a target network."""
    add_network(store)
    add_endpoint(store, vpc_id="vpc-1")
    add_association(store)
    return site.client()


def make_group(ec2: Any, name: str = "web") -> str:
    return str(ec2.create_security_group(GroupName=name, Description=name, VpcId="vpc-1")["GroupId"])


def https(group_id: str) -> dict[str, Any]:
    return {
        "IpProtocol": "tcp",
        "FromPort": 443,
        "ToPort": 443,
        "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "ours"}, {"CidrIp": "192.0.2.0/24"}],
        "UserIdGroupPairs": [{"GroupId": group_id}],
    }


def test_a_group_lives_with_its_rules_and_tags(ec2: Any) -> None:
    tags = [{"Key": "team", "Value": "web"}]
    made = ec2.create_security_group(
        GroupName="web",
        Description="web servers",
        TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
    )
    group_id = made["GroupId"]
    ec2.revoke_security_group_egress(GroupId=group_id, IpPermissions=[ALLOW_ALL])
    ec2.authorize_security_group_egress(GroupId=group_id, IpPermissions=[https(group_id)])
    ec2.authorize_security_group_ingress(
        GroupId=group_id, IpProtocol="icmp", FromPort=-1, ToPort=-1, CidrIp="10.0.0.0/8"
    )
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "tag:team", "Values": ["w*"]}])["SecurityGroups"]
    assert (group["GroupName"], group["Tags"]) == ("web", tags)
    (egress,), (ingress,) = group["IpPermissionsEgress"], group["IpPermissions"]
    assert (egress["IpProtocol"], egress["FromPort"], egress["ToPort"]) == ("tcp", 443, 443)
    assert egress["IpRanges"] == https(group_id)["IpRanges"]
    assert [pair["GroupId"] for pair in egress["UserIdGroupPairs"]] == [group_id]
    assert (ingress["IpProtocol"], ingress["FromPort"]) == ("icmp", -1)
    assert ec2.delete_security_group(GroupId=group_id)["Return"] is True


def test_what_describe_shows_can_be_revoked_as_it_is(ec2: Any) -> None:
    group_id = make_group(ec2)
    ec2.authorize_security_group_egress(GroupId=group_id, IpPermissions=[https(group_id)])
    (group,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    ec2.revoke_security_group_egress(GroupId=group_id, IpPermissions=group["IpPermissionsEgress"])
    assert ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]["IpPermissionsEgress"] == []


def test_rules_are_listed_by_botos_paginator_and_revoked_by_id(ec2: Any) -> None:
    group_id = make_group(ec2)
    ports = [
        {"IpProtocol": "udp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        for port in range(11)
    ]
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=ports)
    pages = ec2.get_paginator("describe_security_group_rules").paginate(
        Filters=[{"Name": "group-id", "Values": [group_id]}], PaginationConfig={"PageSize": 5}
    )
    ids = list(pages.search("SecurityGroupRules[?!IsEgress].SecurityGroupRuleId"))
    assert len(ids) == 11
    gone = ec2.revoke_security_group_ingress(GroupId=group_id, SecurityGroupRuleIds=ids)
    assert {rule["SecurityGroupRuleId"] for rule in gone["RevokedSecurityGroupRules"]} == set(ids)


def test_rules_are_modified_and_described_anew(ec2: Any) -> None:
    group_id = make_group(ec2)
    everywhere = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    (made,) = ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=everywhere)["SecurityGroupRules"]
    rule_id = made["SecurityGroupRuleId"]
    wanted = {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "CidrIpv4": "10.0.0.0/8", "Description": "names"}
    updates = [{"SecurityGroupRuleId": rule_id, "SecurityGroupRule": wanted}]
    with pytest.raises(ClientError) as dry:
        ec2.modify_security_group_rules(GroupId=group_id, SecurityGroupRules=updates, DryRun=True)
    assert dry.value.response["Error"]["Code"] == "DryRunOperation"
    assert ec2.modify_security_group_rules(GroupId=group_id, SecurityGroupRules=updates)["Return"] is True
    texts = [{"SecurityGroupRuleId": rule_id, "Description": "its names"}]
    ec2.update_security_group_rule_descriptions_ingress(GroupId=group_id, SecurityGroupRuleDescriptions=texts)
    (rule,) = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule_id])["SecurityGroupRules"]
    assert {name: rule[name] for name in wanted} == wanted | {"Description": "its names"}


def test_groups_are_applied_to_target_networks(ec2: Any) -> None:
    group_ids = [make_group(ec2, name) for name in ("web", "dns")]
    reply = ec2.apply_security_groups_to_client_vpn_target_network(
        ClientVpnEndpointId=ENDPOINT_ID, VpcId="vpc-1", SecurityGroupIds=group_ids
    )
    assert reply["SecurityGroupIds"] == group_ids
    (network,) = ec2.describe_client_vpn_target_networks(ClientVpnEndpointId=ENDPOINT_ID)["ClientVpnTargetNetworks"]
    assert network["SecurityGroups"] == group_ids
    (endpoint,) = ec2.describe_client_vpn_endpoints()["ClientVpnEndpoints"]
    assert endpoint["SecurityGroupIds"] == group_ids


def test_errors_have_ec2s_codes(ec2: Any) -> None:
    group_id = make_group(ec2)
    rule = https(group_id)
    ec2.authorize_security_group_egress(GroupId=group_id, IpPermissions=[rule])
    again = [{**rule, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "ours as well"}]}]
    ipv6 = [{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]
    calls: list[tuple[str, Any, dict[str, Any]]] = [
        ("InvalidGroup.Duplicate", ec2.create_security_group, {"GroupName": "web", "Description": "again"}),
        ("InvalidGroup.NotFound", ec2.delete_security_group, {"GroupId": "sg-0"}),
        ("InvalidPermission.Duplicate", ec2.authorize_security_group_egress, {"IpPermissions": again}),
        ("InvalidPermission.NotFound", ec2.revoke_security_group_ingress, {"IpPermissions": again}),
        ("UnsupportedOperation", ec2.authorize_security_group_egress, {"IpPermissions": ipv6}),
        ("InvalidPermission.NotFound", ec2.revoke_security_group_egress, {"IpPermissions": ipv6}),
    ]
    for code, call, parameters in calls:
        with pytest.raises(ClientError) as caught:
            call(**({"GroupId": group_id} if "IpPermissions" in parameters else {}), **parameters)
        assert caught.value.response["Error"]["Code"] == code
