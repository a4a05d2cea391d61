"""Terraform's AWS provider and security groups, and what it looks up without managing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.lab.process import eventually
from tests.lab.terraform import PATIENCE_S, Attributes, Provider, filters, specification, tag_map

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GroupRule", "SecurityGroup", "read_vpc"]

NO_GROUP = ("InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound")
NO_GROUP_RULE = "InvalidSecurityGroupRuleId.NotFound"
ANY_IPV4, ANY_IPV6 = {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}, {"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}


class SecurityGroup:
    """`aws_security_group`, with its rules inside it or without."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def create(self, wanted: Attributes) -> str:
        """A group of Terraform's has no rules that are not written down: the one that it begins with is taken away."""
        made = self._provider.call(
            "CreateSecurityGroup",
            GroupName=wanted["name"],
            Description=wanted.get("description", "Managed by Terraform"),
            VpcId=wanted["vpc_id"],
            **specification("security-group", wanted.get("tags", {})),
        )
        group_id = str(made["GroupId"])
        eventually(lambda: self._find(group_id), within_s=PATIENCE_S, what="the group is there")
        for everywhere, not_found in ((ANY_IPV4, ()), (ANY_IPV6, ("InvalidPermission.NotFound",))):
            everything = {"IpProtocol": "-1", "FromPort": 0, "ToPort": 0, **everywhere}
            self._provider.forget("RevokeSecurityGroupEgress", *not_found, GroupId=group_id, IpPermissions=[everything])
        self.update(group_id, {}, wanted)
        return group_id

    def read(self, resource_id: str) -> Attributes | None:
        found = self._find(resource_id)
        return found and {
            "description": found["Description"],
            "egress": [_block(one) for one in found["IpPermissionsEgress"]],
            "ingress": [_block(one) for one in found["IpPermissions"]],
            "name": found["GroupName"],
            "owner_id": found["OwnerId"],
            "tags": tag_map(found["Tags"]),
            "vpc_id": found["VpcId"],
        }

    def update(self, resource_id: str, old: Attributes, new: Attributes) -> None:
        """Take away what is no longer written down, then allow what is new."""
        for blocks in ("ingress", "egress"):
            before, after = old.get(blocks, []), new.get(blocks, [])
            for verb, changed in (
                ("Revoke", [block for block in before if block not in after]),
                ("Authorize", [block for block in after if block not in before]),
            ):
                if changed:
                    permissions = [_permission(block) for block in changed]
                    action = f"{verb}SecurityGroup{blocks.capitalize()}"
                    self._provider.call(action, GroupId=resource_id, IpPermissions=permissions)
        if old:
            self._provider.tag(resource_id, old.get("tags", {}), new.get("tags", {}))

    def delete(self, resource_id: str) -> None:
        left_behind = self._provider.find("DescribeNetworkInterfaces", Filters=filters(group_id=resource_id))
        assert left_behind == []
        self._provider.forget("DeleteSecurityGroup", *NO_GROUP, GroupId=resource_id)
        eventually(lambda: self._find(resource_id) is None, within_s=PATIENCE_S, what="the group is gone")

    def _find(self, group_id: str) -> dict[str, Any] | None:
        return self._provider.find_one("DescribeSecurityGroups", *NO_GROUP, GroupIds=[group_id])


def _permission(block: Mapping[str, Any]) -> dict[str, Any]:
    ports = {"FromPort": block["from_port"], "ToPort": block["to_port"]} if block["protocol"] != "-1" else {}
    description = {"Description": block["description"]} if block["description"] else {}
    ranges = [{"CidrIp": cidr} | description for cidr in block["cidr_blocks"]]
    return {"IpProtocol": block["protocol"], **ports, "IpRanges": ranges}


def _block(permission: Mapping[str, Any]) -> Attributes:
    assert not permission.get("Ipv6Ranges"), "no rule of these is about IPv6"
    assert not permission.get("PrefixListIds"), "no rule of these is about a prefix list"
    ranges = permission["IpRanges"]
    (description,) = {one.get("Description", "") for one in ranges}
    return {
        "protocol": permission["IpProtocol"],
        "from_port": permission.get("FromPort", 0),
        "to_port": permission.get("ToPort", 0),
        "cidr_blocks": [one["CidrIp"] for one in ranges],
        "description": description,
    }


class GroupRule:
    """`aws_vpc_security_group_egress_rule` and `…_ingress_rule`."""

    def __init__(self, provider: Provider, direction: str) -> None:
        """The direction is `Egress` or `Ingress`."""
        self._provider = provider
        self._direction = direction

    def create(self, wanted: Attributes) -> str:
        """Tags are set afterwards, by the rule's id."""
        side = {"CidrIp": wanted["cidr_ipv4"], **_present(wanted, {"description": "Description"})}
        permission = {**_present(wanted, _TRAFFIC), "IpRanges": [side]}
        made = self._provider.call(
            f"AuthorizeSecurityGroup{self._direction}", GroupId=wanted["security_group_id"], IpPermissions=[permission]
        )
        rule_id = str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])
        self._provider.tag(rule_id, {}, wanted.get("tags", {}))
        return rule_id

    def read(self, resource_id: str) -> Attributes | None:
        found = self._provider.find_one("DescribeSecurityGroupRules", NO_GROUP_RULE, SecurityGroupRuleIds=[resource_id])
        if found is None or found["IsEgress"] != (self._direction == "Egress"):
            return None
        ports = {name: found[member] for name, member in _PORTS.items() if found[member] != -1}
        return {
            "cidr_ipv4": found.get("CidrIpv4"),
            "ip_protocol": found["IpProtocol"],
            "security_group_id": found["GroupId"],
            "tags": tag_map(found["Tags"]),
            **ports,
            **({"description": found["Description"]} if "Description" in found else {}),
        }

    def update(self, resource_id: str, old: Attributes, new: Attributes) -> None:
        """Say the whole rule anew, whatever of it has changed."""
        if {**old, "tags": None} != {**new, "tags": None}:
            rule = _present(new, _TRAFFIC | {"cidr_ipv4": "CidrIpv4", "description": "Description"})
            update = {"SecurityGroupRuleId": resource_id, "SecurityGroupRule": rule}
            self._provider.call(
                "ModifySecurityGroupRules", GroupId=new["security_group_id"], SecurityGroupRules=[update]
            )
        self._provider.tag(resource_id, old.get("tags", {}), new.get("tags", {}))

    def delete(self, resource_id: str) -> None:
        found = self.read(resource_id)
        if found is not None:
            self._provider.forget(
                f"RevokeSecurityGroup{self._direction}",
                *NO_GROUP,
                NO_GROUP_RULE,
                GroupId=found["security_group_id"],
                SecurityGroupRuleIds=[resource_id],
            )


_PORTS = {"from_port": "FromPort", "to_port": "ToPort"}
_TRAFFIC = {"ip_protocol": "IpProtocol", **_PORTS}


def _present(attributes: Attributes, names: Mapping[str, str]) -> dict[str, Any]:
    return {name: attributes[attribute] for attribute, name in names.items() if attribute in attributes}


def read_vpc(provider: Provider, **tags: str) -> Attributes:
    """`data.aws_vpc` by tags: the VPC, three attributes of it, and its main route table."""
    by_tags = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
    vpc = provider.find_one("DescribeVpcs", Filters=by_tags)
    assert vpc is not None
    vpc_id = vpc["VpcId"]
    main = [{"Name": "association.main", "Values": ["true"]}, *filters(vpc_id=vpc_id)]
    table = provider.find_one("DescribeRouteTables", Filters=main)
    assert table is not None
    attributes = {}
    for attribute, name in _VPC_ATTRIBUTES.items():
        reply = provider.call("DescribeVpcAttribute", VpcId=vpc_id, Attribute=name)
        attributes[attribute] = reply[f"E{name[1:]}"]["Value"]
    return {
        "id": vpc_id,
        "cidr_block": vpc["CidrBlock"],
        "cidr_block_associations": [one["CidrBlock"] for one in vpc["CidrBlockAssociationSet"]],
        "main_route_table_id": table["RouteTableId"],
        "owner_id": vpc["OwnerId"],
        **attributes,
    }


_VPC_ATTRIBUTES = {
    "enable_dns_hostnames": "enableDnsHostnames",
    "enable_dns_support": "enableDnsSupport",
    "enable_network_address_usage_metrics": "enableNetworkAddressUsageMetrics",
}
