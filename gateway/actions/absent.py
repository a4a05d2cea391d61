"""What stands around VPCs in AWS, and not around those that are networks of a host.

Tools look for these before they delete what may depend on them, and an error would end their work: there are none.
"""

from __future__ import annotations

from typing import Any

from gateway.actions.call import ActionError, Call, action
from gateway.actions.listing import paginate

__all__ = ["describe_network_acls", "describe_network_interfaces"]


@action("DescribeNetworkAcls")
def describe_network_acls(call: Call) -> dict[str, Any]:
    """List the network ACLs: security groups filter, and nothing else. Raises `InvalidNetworkAclID.NotFound`."""
    return {"NetworkAcls": _nothing(call, "NetworkAclIds", "InvalidNetworkAclID.NotFound", "network ACL")}


@action("DescribeNetworkInterfaces")
def describe_network_interfaces(call: Call) -> dict[str, Any]:
    """List the elastic network interfaces: target networks are reached by the host's own.

    Raises `InvalidNetworkInterfaceID.NotFound`.
    """
    code = "InvalidNetworkInterfaceID.NotFound"
    return {"NetworkInterfaces": _nothing(call, "NetworkInterfaceIds", code, "network interface")}


def _nothing(call: Call, member: str, code: str, kind: str) -> list[dict[str, Any]]:
    """An empty list, which no filter makes any shorter."""
    for asked in call.parameters.get(member) or ():
        raise ActionError(code, f"There is no {kind} {asked!r}: there are none here.")
    nothing: list[dict[str, Any]] = []
    page, _ = paginate(call, nothing, key=str)
    return page
