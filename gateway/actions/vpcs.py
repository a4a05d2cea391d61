"""VPCs, subnets and availability zones: the networks that hosts offer, as EC2 shows them to those who look for one.

Networks are declared in configuration files and only read here. A VPC is the networks that give the same name for it,
and has no range of its own: its CIDR blocks are theirs, joined where they meet. Names are shown as the tag `Name`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, collapse_addresses
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from gateway.actions.call import ActionError, Call, action
from gateway.actions.listing import matching_shapes, paginate
from gateway.actions.objects import is_visible
from gateway.actions.tagging import tags_of, tags_shape
from gateway.store.schema import network

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection, Row

__all__ = [
    "DEFAULT_VPC",
    "declared_names",
    "default_vpc",
    "describe_availability_zones",
    "describe_subnets",
    "describe_vpc_attribute",
    "describe_vpcs",
    "find_subnet",
    "vpc_blocks",
]

DEFAULT_VPC = "main"
"""The VPC of networks that name none."""

_SUBNET_ID = re.compile(r"subnet-[0-9a-zA-Z]+")
_UNUSABLE = 2
"""Addresses of a network that nobody has: its own and the broadcast address."""

_VPC_FILTERS: Final = {
    "vpc-id": "VpcId",
    "cidr": "CidrBlock",
    "cidr-block-association.association-id": "CidrBlockAssociationSet.AssociationId",
    "cidr-block-association.cidr-block": "CidrBlockAssociationSet.CidrBlock",
    "cidr-block-association.state": "CidrBlockAssociationSet.CidrBlockState.State",
    "dhcp-options-id": "DhcpOptionsId",
    "is-default": "IsDefault",
    "isDefault": "IsDefault",
    "owner-id": "OwnerId",
    "state": "State",
}
_SUBNET_FILTERS: Final = {
    "subnet-id": "SubnetId",
    "subnet-arn": "SubnetArn",
    "vpc-id": "VpcId",
    "cidr": "CidrBlock",
    "cidr-block": "CidrBlock",
    "cidrBlock": "CidrBlock",
    "availability-zone": "AvailabilityZone",
    "availabilityZone": "AvailabilityZone",
    "availability-zone-id": "AvailabilityZoneId",
    "availabilityZoneId": "AvailabilityZoneId",
    "available-ip-address-count": "AvailableIpAddressCount",
    "default-for-az": "DefaultForAz",
    "defaultForAz": "DefaultForAz",
    "ipv6-native": "Ipv6Native",
    "map-public-ip-on-launch": "MapPublicIpOnLaunch",
    "owner-id": "OwnerId",
    "state": "State",
}
_ZONE_FILTERS: Final = {
    "zone-name": "ZoneName",
    "zone-id": "ZoneId",
    "zone-type": "ZoneType",
    "region-name": "RegionName",
    "group-name": "GroupName",
    "opt-in-status": "OptInStatus",
    "state": "State",
}


@action("DescribeVpcs")
def describe_vpcs(call: Call) -> dict[str, Any]:
    """List VPCs. Raises `InvalidVpcID.NotFound`."""
    known = _vpcs(call)
    ids = _asked(known, call.parameters.get("VpcIds"), "InvalidVpcID.NotFound", "VPC")
    tags = tags_of(call, ids)
    shapes = [_vpc_shape(call, known[vpc_id], tags[vpc_id]) for vpc_id in ids]
    matching = matching_shapes(call, shapes, _VPC_FILTERS, tagged=True)
    page, token = paginate(call, matching, key=lambda shape: shape["VpcId"])
    return {"Vpcs": page, "NextToken": token}


@action("DescribeVpcAttribute")
def describe_vpc_attribute(call: Call) -> dict[str, Any]:
    """Say whether a VPC has Amazon's DNS, or its metrics: it has neither. Raises `InvalidVpcID.NotFound`."""
    vpc_id, attribute = call.parameters["VpcId"], call.parameters["Attribute"]
    _asked(_vpcs(call), [vpc_id], "InvalidVpcID.NotFound", "VPC")
    return {"VpcId": vpc_id, f"{attribute[0].upper()}{attribute[1:]}": {"Value": False}}


@action("DescribeSubnets")
def describe_subnets(call: Call) -> dict[str, Any]:
    """List subnets. Raises `InvalidSubnetID.NotFound`."""
    known = {row.subnet_id: row for row in _networks(call)}
    ids = _asked(known, call.parameters.get("SubnetIds"), "InvalidSubnetID.NotFound", "subnet")
    tags = tags_of(call, ids)
    shapes = [_subnet_shape(call, known[subnet_id], tags[subnet_id]) for subnet_id in ids]
    matching = matching_shapes(call, shapes, _SUBNET_FILTERS, tagged=True)
    page, token = paginate(call, matching, key=lambda shape: shape["SubnetId"])
    return {"Subnets": page, "NextToken": token}


@action("DescribeAvailabilityZones")
def describe_availability_zones(call: Call) -> dict[str, Any]:
    """List the zones of networks; a zone's id is its name. Raises `InvalidParameterValue` for one that is not there."""
    zones = {row.zone for row in _networks(call)}
    for named in ("ZoneNames", "ZoneIds"):
        zones &= _asked(zones, call.parameters.get(named), "InvalidParameterValue", "availability zone")
    shapes = [_zone_shape(call, zone) for zone in sorted(zones)]
    return {"AvailabilityZones": matching_shapes(call, shapes, _ZONE_FILTERS)}


def find_subnet(call: Call, subnet_id: str) -> Row[Any]:
    """The row of a network by its id as a subnet. Raises `InvalidSubnetID.Malformed` and `InvalidSubnetID.NotFound`."""
    if not _SUBNET_ID.fullmatch(subnet_id):
        raise ActionError("InvalidSubnetID.Malformed", f"{subnet_id!r} is no subnet's id. One begins with `subnet-`.")
    found = call.connection.execute(select(network).where(network.c.subnet_id == subnet_id)).one_or_none()
    if found is None or not _may_see(call, found):
        raise ActionError("InvalidSubnetID.NotFound", f"There is no subnet {subnet_id!r}.")
    return found


def default_vpc(connection: Connection) -> str | None:
    """The id of the VPC that is meant where none is named, if there is one."""
    found: str | None = connection.scalar(select(network.c.vpc_id).where(network.c.vpc_name == DEFAULT_VPC).limit(1))
    return found


def vpc_blocks(call: Call) -> dict[str, list[str]]:
    """The CIDR blocks of each VPC, the widest first."""
    return {vpc_id: _joined(members) for vpc_id, members in _vpcs(call).items()}


def declared_names(call: Call) -> dict[tuple[str, str], str]:
    """What configuration files call VPCs and subnets, by id and type: their tag `Name`, unless they have another."""
    rows = _networks(call)
    return {(row.vpc_id, "vpc"): row.vpc_name for row in rows} | {(row.subnet_id, "subnet"): row.name for row in rows}


def _networks(call: Call) -> list[Row[Any]]:
    return [row for row in call.connection.execute(select(network)) if _may_see(call, row)]


def _may_see(call: Call, row: Row[Any]) -> bool:
    return row.file_endpoint_id is None or is_visible(call, row.file_endpoint_id)


def _vpcs(call: Call) -> dict[str, list[Row[Any]]]:
    """The networks of each VPC."""
    rows = sorted(_networks(call), key=lambda row: str(row.vpc_id))
    return {vpc_id: list(members) for vpc_id, members in groupby(rows, key=lambda row: row.vpc_id)}


def _asked(known: Collection[str], ids: Collection[str] | None, code: str, kind: str) -> set[str]:
    """What the caller names, or everything."""
    missing = [name for name in ids or () if name not in known]
    if missing:
        raise ActionError(code, f"There is no {kind} {missing[0]!r}.")
    return set(ids or known)


def _vpc_shape(call: Call, members: list[Row[Any]], tags: Mapping[str, str]) -> dict[str, Any]:
    first, cidrs = members[0], _joined(members)
    return {
        "VpcId": first.vpc_id,
        "OwnerId": call.settings.account_id,
        "State": "available",
        "IsDefault": first.vpc_name == DEFAULT_VPC,
        "InstanceTenancy": "default",
        "DhcpOptionsId": "default",
        "CidrBlock": cidrs[0],
        "CidrBlockAssociationSet": [
            {"AssociationId": f"{first.vpc_id}/{cidr}", "CidrBlock": cidr, "CidrBlockState": {"State": "associated"}}
            for cidr in cidrs
        ],
        "Tags": tags_shape({"Name": first.vpc_name, **tags}),
    }


def _joined(members: list[Row[Any]]) -> list[str]:
    """The ranges of networks, the widest first."""
    ranges = collapse_addresses(IPv4Network(row.cidr) for row in members)
    return [str(cidr) for cidr in sorted(ranges, key=lambda cidr: (cidr.prefixlen, cidr))]


def _subnet_shape(call: Call, row: Row[Any], tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        "SubnetId": row.subnet_id,
        "SubnetArn": f"arn:aws:ec2:{call.settings.region}:{call.settings.account_id}:subnet/{row.subnet_id}",
        "VpcId": row.vpc_id,
        "OwnerId": call.settings.account_id,
        "State": "available",
        "CidrBlock": row.cidr,
        "AvailableIpAddressCount": max(IPv4Network(row.cidr).num_addresses - _UNUSABLE, 1),
        "AvailabilityZone": row.zone,
        "AvailabilityZoneId": row.zone,
        "DefaultForAz": False,
        "MapPublicIpOnLaunch": False,
        "AssignIpv6AddressOnCreation": False,
        "Ipv6Native": False,
        "Tags": tags_shape({"Name": row.name, **tags}),
    }


def _zone_shape(call: Call, zone: str) -> dict[str, Any]:
    region = call.settings.region
    return {
        "ZoneName": zone,
        "ZoneId": zone,
        "ZoneType": "availability-zone",
        "RegionName": region,
        "GroupName": region,
        "NetworkBorderGroup": region,
        "OptInStatus": "opt-in-not-required",
        "State": "available",
        "Messages": [],
    }
