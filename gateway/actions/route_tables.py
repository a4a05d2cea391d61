"""Route tables: for each VPC the one that it begins with in AWS, which leads to its own networks.

That is what can be said of a host's routing in EC2's words. What lies behind a network's next hop is known to the
endpoints' own routes; nothing here can be changed. A table's id is its VPC's, with another prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.actions.call import ActionError, Call, action
from gateway.actions.listing import matching_shapes, paginate
from gateway.actions.tagging import tags_shape
from gateway.actions.vpcs import vpc_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["describe_route_tables"]

_FILTERS: Final = {
    "association.gateway-id": "Associations.GatewayId",
    "association.main": "Associations.Main",
    "association.route-table-association-id": "Associations.RouteTableAssociationId",
    "association.route-table-id": "Associations.RouteTableId",
    "association.subnet-id": "Associations.SubnetId",
    "owner-id": "OwnerId",
    "route-table-id": "RouteTableId",
    "route.destination-cidr-block": "Routes.DestinationCidrBlock",
    "route.gateway-id": "Routes.GatewayId",
    "route.origin": "Routes.Origin",
    "route.state": "Routes.State",
    "vpc-id": "VpcId",
}


@action("DescribeRouteTables")
def describe_route_tables(call: Call) -> dict[str, Any]:
    """List the main route tables of VPCs. Raises `InvalidRouteTableID.NotFound`."""
    known = {shape["RouteTableId"]: shape for shape in _shapes(call)}
    asked = call.parameters.get("RouteTableIds") or known.keys()
    for table_id in asked:
        if table_id not in known:
            raise ActionError("InvalidRouteTableID.NotFound", f"There is no route table {table_id!r}.")
    matching = matching_shapes(call, [known[table_id] for table_id in set(asked)], _FILTERS, tagged=True)
    page, token = paginate(call, matching, key=lambda shape: shape["RouteTableId"])
    return {"RouteTables": page, "NextToken": token}


def _shapes(call: Call) -> list[dict[str, Any]]:
    return [_shape(call, vpc_id, cidrs) for vpc_id, cidrs in vpc_blocks(call).items()]


def _shape(call: Call, vpc_id: str, cidrs: Sequence[str]) -> dict[str, Any]:
    digits = vpc_id.removeprefix("vpc-")
    table_id = f"rtb-{digits}"
    main = {
        "Main": True,
        "RouteTableAssociationId": f"rtbassoc-{digits}",
        "RouteTableId": table_id,
        "AssociationState": {"State": "associated"},
    }
    return {
        "RouteTableId": table_id,
        "VpcId": vpc_id,
        "OwnerId": call.settings.account_id,
        "Associations": [main],
        "Routes": [_local_route(cidr) for cidr in cidrs],
        "PropagatingVgws": [],
        "Tags": tags_shape({}),
    }


def _local_route(cidr: str) -> dict[str, str]:
    return {"DestinationCidrBlock": cidr, "GatewayId": "local", "Origin": "CreateRouteTable", "State": "active"}
