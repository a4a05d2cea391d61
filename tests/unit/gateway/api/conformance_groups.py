"""What is said of security groups in the conformance test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.unit.gateway.api.conformance_words import VPC, all_pages, only, tags

if TYPE_CHECKING:
    from tests.unit.gateway.api.conformance import Conversation

__all__ = ["make_security_groups", "speak_of_changed_rules", "speak_of_filtering"]


def make_security_groups(talk: Conversation) -> list[str]:
    made = [
        talk.say(
            "CreateSecurityGroup", GroupName=name, Description=name, VpcId=VPC, TagSpecifications=tags("security-group")
        )["GroupId"]
        for name in ("web", "other")
    ]
    assert {one["GroupId"] for one in all_pages(talk, "DescribeSecurityGroups", Filters=only("vpc-id", VPC))} >= set(
        made
    )
    talk.say("DescribeSecurityGroups", GroupIds=made)
    talk.say("DescribeSecurityGroups", GroupNames=["web"])
    return made


def speak_of_filtering(talk: Conversation, groups: list[str]) -> None:
    web, other = groups
    ranges = {"IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "inside"}]}
    pairs = {"UserIdGroupPairs": [{"GroupId": other, "UserId": "123456789012", "VpcId": VPC, "Description": "them"}]}
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    for direction in ("Ingress", "Egress"):
        permissions = [{**https, **ranges}, {**https, **pairs}]
        rule_tags = tags("security-group-rule")
        talk.say(
            f"AuthorizeSecurityGroup{direction}", GroupId=web, IpPermissions=permissions, TagSpecifications=rule_tags
        )
        talk.say(f"RevokeSecurityGroup{direction}", GroupId=web, IpPermissions=permissions)
        made = talk.say(f"AuthorizeSecurityGroup{direction}", GroupId=web, IpPermissions=permissions[:1])
        (rule,) = made["SecurityGroupRules"]
        talk.say("DescribeSecurityGroupRules", SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
        rule_ids = [rule["SecurityGroupRuleId"]]
        talk.say(f"RevokeSecurityGroup{direction}", GroupId=web, SecurityGroupRuleIds=rule_ids)
        plain = {"GroupId": web, **https, "CidrIp": "10.0.0.0/8"}
        by_name = {"SourceSecurityGroupName": "other", "SourceSecurityGroupOwnerId": "123456789012"}
        pair = {"GroupName": "other", "PeeringStatus": "active", "VpcPeeringConnectionId": ""}
        for said in (
            plain,
            {"GroupId": web, **by_name},
            {"GroupId": web, "IpPermissions": [{**https, "UserIdGroupPairs": [pair]}]},
        ):
            talk.say(f"AuthorizeSecurityGroup{direction}", **said)
            talk.say(f"RevokeSecurityGroup{direction}", **said)
        for elsewhere in (
            {"Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32", "Description": "them"}]},
            {"PrefixListIds": [{"PrefixListId": "pl-1", "Description": "them"}]},
        ):
            no_such = [{**https, **elsewhere}]
            authorize, revoke = (f"{verb}SecurityGroup{direction}" for verb in ("Authorize", "Revoke"))
            talk.refused("UnsupportedOperation", authorize, GroupId=web, IpPermissions=no_such)
            talk.refused("InvalidPermission.NotFound", revoke, GroupId=web, IpPermissions=no_such)
    talk.say("AuthorizeSecurityGroupIngress", GroupName="web", **https, CidrIp="10.0.0.0/8")
    talk.say("RevokeSecurityGroupIngress", GroupName="web", **https, CidrIp="10.0.0.0/8")
    all_pages(talk, "DescribeSecurityGroupRules", Filters=only("group-id", web))


def speak_of_changed_rules(talk: Conversation, groups: list[str]) -> None:
    web, other = groups
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    pair = {"GroupId": other, "UserId": "123456789012", "VpcId": VPC, "PeeringStatus": "active"}
    both = [
        {**https, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "inside"}]},
        {**https, "UserIdGroupPairs": [{**pair, "VpcPeeringConnectionId": "", "Description": "them"}]},
    ]
    no_such: list[dict[str, Any]] = [
        {**https, "Ipv6Ranges": [{"CidrIpv6": "::/0", "Description": "all"}]},
        {**https, "PrefixListIds": [{"PrefixListId": "pl-1", "Description": "them"}]},
        {**https, "UserIdGroupPairs": [{"GroupName": "nobody"}]},
    ]
    for direction in ("Ingress", "Egress"):
        made = talk.say(f"AuthorizeSecurityGroup{direction}", GroupId=web, IpPermissions=both)["SecurityGroupRules"]
        ids = [rule["SecurityGroupRuleId"] for rule in made]
        described = f"UpdateSecurityGroupRuleDescriptions{direction}"
        talk.say(described, GroupId=web, IpPermissions=both)
        talk.say(described, GroupName="web", IpPermissions=both)
        texts = [{"SecurityGroupRuleId": rule_id, "Description": "it"} for rule_id in ids]
        talk.say(described, GroupId=web, SecurityGroupRuleDescriptions=texts)
        for one in no_such:
            code = "InvalidGroup.NotFound" if "UserIdGroupPairs" in one else "InvalidPermission.NotFound"
            talk.refused(code, described, GroupId=web, IpPermissions=[one])
        speak_of_other_sides(talk, web, ids[0], {**https, "Description": "again"}, other)
        talk.say(f"RevokeSecurityGroup{direction}", GroupId=web, SecurityGroupRuleIds=ids)


def speak_of_other_sides(talk: Conversation, group: str, rule_id: str, rule: dict[str, Any], other: str) -> None:
    def change(**side: str) -> dict[str, Any]:
        update = {"SecurityGroupRuleId": rule_id, "SecurityGroupRule": {**rule, **side}}
        return {"GroupId": group, "SecurityGroupRules": [update]}

    talk.say("ModifySecurityGroupRules", **change(CidrIpv4="10.0.0.0/16"))
    for elsewhere in ({"CidrIpv6": "::/0"}, {"PrefixListId": "pl-1"}):
        talk.refused("UnsupportedOperation", "ModifySecurityGroupRules", **change(**elsewhere))
    talk.refused("InvalidPermission.Duplicate", "ModifySecurityGroupRules", **change(ReferencedGroupId=other))
