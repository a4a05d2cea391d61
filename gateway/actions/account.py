"""The account and its region: there is one of each, and both are names that the configuration gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.actions.call import ActionError, Call, action
from gateway.actions.listing import matching_shapes
from gateway.actions.vpcs import default_vpc

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["describe_account_attributes", "describe_regions"]

_REGION_FILTERS: Final = {"endpoint": "Endpoint", "opt-in-status": "OptInStatus", "region-name": "RegionName"}


@action("DescribeAccountAttributes")
def describe_account_attributes(call: Call) -> dict[str, Any]:
    """Say what the account has: VPCs only, and one that is meant where none is named.

    Attributes about what there is not here are left out; as with AWS, `none` stands for a missing VPC.
    """
    values = {"supported-platforms": "VPC", "default-vpc": default_vpc(call.connection) or "none"}
    limit = call.settings.quotas.security_groups_per_association
    if limit:
        values["vpc-max-security-groups-per-interface"] = str(limit)
    asked: Sequence[str] = call.parameters.get("AttributeNames") or list(values)
    return {
        "AccountAttributes": [
            {"AttributeName": name, "AttributeValues": [{"AttributeValue": values[name]}]}
            for name in dict.fromkeys(asked)
            if name in values
        ]
    }


@action("DescribeRegions")
def describe_regions(call: Call) -> dict[str, Any]:
    """Name the region. It has no endpoint of a known name: callers say themselves where it is.

    Raises `InvalidParameterValue` for another one.
    """
    region = call.settings.region
    for asked in call.parameters.get("RegionNames") or ():
        if asked != region:
            raise ActionError("InvalidParameterValue", f"There is no region {asked!r} here. This is {region}.")
    shape = {"RegionName": region, "OptInStatus": "opt-in-not-required"}
    return {"Regions": matching_shapes(call, [shape], _REGION_FILTERS)}
