"""What AWS's API has and Portway has not, each with what to use instead."""

from __future__ import annotations

__all__ = ["explain_unsupported"]

_NO_TRANSIT_GATEWAY = (
    "There are no Transit Gateways here. Declare the networks behind one as [[network]] in the configuration, and "
    "associate the endpoint with them: AssociateClientVpnTargetNetwork."
)
_NO_POLICY = (
    "There are no policies in Cedar here. Say who may reach what with authorization rules and security groups: "
    "AuthorizeClientVpnIngress, ApplySecurityGroupsToClientVpnTargetNetwork."
)


def explain_unsupported(action: str) -> str:
    """Return the sentences for an action that the service model has and nobody carries out."""
    if "TransitGateway" in action:
        return _NO_TRANSIT_GATEWAY
    if action.endswith("AuthorizationPolicy"):
        return _NO_POLICY
    return f"{action} is not supported here."
