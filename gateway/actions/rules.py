"""Authorization rules of endpoints: who may reach which destination.

Owns the rows of `authorization_rule`. A rule is for one group or for all; it is never changed, only revoked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, select, update

from gateway.actions.call import ActionError, Call, action
from gateway.actions.listing import matching_shapes, paginate
from gateway.actions.objects import canonical_cidr, description_of, find_endpoint, make_status, status_shape
from gateway.store.schema import authorization_rule as rule
from policy import MAX_RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Row

__all__ = ["authorize", "describe", "revoke"]

_ALL_GROUPS: Final = ""
"""What stands in the column for everyone."""
_MAX_GROUP_ID: Final = 255

_FILTERS: Final = {"description": "Description", "destination-cidr": "DestinationCidr", "group-id": "GroupId"}


@action("AuthorizeClientVpnIngress", changes=True)
def authorize(call: Call) -> dict[str, Any]:
    """Let a group, or everyone, reach a destination. A rule that is being revoked is made anew.

    Raises `InvalidClientVpnDuplicateAuthorizationRule` and `ClientVpnAuthorizationRuleLimitExceeded`.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    destination = canonical_cidr(call.parameters["TargetNetworkCidr"])
    group = _asked_group(call, "AuthorizeAllGroups")
    description = description_of(call)
    _make_room(call, owner, destination, group)
    row = call.connection.execute(
        insert(rule)
        .values(
            endpoint_id=owner.id,
            destination_cidr=destination,
            group_id=group,
            description=description,
            status_code="authorizing",
            created_at=call.now,
        )
        .returning(rule)
    ).one()
    call.after = _shape(row)
    return {"Status": status_shape(row)}


@action("RevokeClientVpnIngress", changes=True)
def revoke(call: Call) -> dict[str, Any]:
    """Take back one rule: that of a group, or the one for everyone, which leaves those of groups alone.

    Doing so twice changes nothing. Raises `InvalidClientVpnEndpointAuthorizationRuleNotFound`.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    destination = canonical_cidr(call.parameters["TargetNetworkCidr"])
    group = _asked_group(call, "RevokeAllGroups")
    same = _same(owner.id, destination, group)
    row = call.connection.execute(select(rule).where(*same)).one_or_none()
    if row is None:
        raise ActionError(
            "InvalidClientVpnEndpointAuthorizationRuleNotFound",
            f"{owner.id} has no rule that authorises {_named(group)} for {destination}.",
        )
    call.before = _shape(row)
    call.affects_gateways = row.status_code != "revoking"
    if call.affects_gateways:
        row = call.connection.execute(
            update(rule).where(*same).values(status_code="revoking", status_message="").returning(rule)
        ).one()
    call.after = _shape(row)
    return {"Status": status_shape(row)}


@action("DescribeClientVpnAuthorizationRules")
def describe(call: Call) -> dict[str, Any]:
    """List the rules of an endpoint."""
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"])
    rows = call.connection.execute(select(rule).where(rule.c.endpoint_id == owner.id))
    matching = matching_shapes(call, map(_shape, rows), _FILTERS)
    page, token = paginate(call, matching, key=lambda shape: (shape["DestinationCidr"], shape["GroupId"]))
    return {"AuthorizationRules": page, "NextToken": token}


def _asked_group(call: Call, all_groups: str) -> str:
    """The group that the call is about; `all_groups` is the parameter that stands for everyone."""
    group = str(call.parameters.get("AccessGroupId") or "")
    if group and call.parameters.get(all_groups):
        raise ActionError("InvalidParameterCombination", f"Give AccessGroupId or {all_groups}, not both.")
    if not group and not call.parameters.get(all_groups):
        raise ActionError("MissingParameter", f"Name a group with AccessGroupId, or everyone with {all_groups}.")
    if len(group) > _MAX_GROUP_ID:
        raise ActionError(
            "InvalidParameterValue", f"A group's id has up to {_MAX_GROUP_ID} characters. This one has {len(group)}."
        )
    return group or _ALL_GROUPS


def _make_room(call: Call, owner: Row[Any], destination: str, group: str) -> None:
    """Check that there may be one more rule, and this one; a like one that is being revoked gives way."""
    call.connection.execute(delete(rule).where(*_same(owner.id, destination, group), rule.c.status_code == "revoking"))
    if call.connection.execute(select(rule).where(*_same(owner.id, destination, group))).first() is not None:
        raise ActionError(
            "InvalidClientVpnDuplicateAuthorizationRule",
            f"{owner.id} has a rule that authorises {_named(group)} for {destination} already.",
        )
    going_on = select(func.count()).where(rule.c.endpoint_id == owner.id, rule.c.status_code != "revoking")
    count = call.connection.execute(going_on).scalar_one()
    limit = min(call.settings.quotas.authorization_rules_per_endpoint or MAX_RULES, MAX_RULES)
    if count >= limit:
        raise ActionError(
            "ClientVpnAuthorizationRuleLimitExceeded",
            f"{owner.id} has {count} authorization rules; the limit is {limit}. "
            f"Revoke some, or raise authorization_rules_per_endpoint in [api.quotas]; {MAX_RULES} is the most.",
        )


def _same(endpoint_id: str, destination: str, group: str) -> tuple[ColumnElement[bool], ...]:
    """The key of a rule."""
    return (
        rule.c.endpoint_id == endpoint_id,
        rule.c.destination_cidr == destination,
        rule.c.group_id == group,
    )


def _named(group: str) -> str:
    return "everyone" if group == _ALL_GROUPS else f"the group {group!r}"


def _shape(row: Sequence[Any]) -> dict[str, Any]:
    # Asking two hundred rows for their columns by name costs more than fetching them.
    endpoint_id, destination_cidr, group_id, description, status_code, status_message, _ = row
    return {
        "ClientVpnEndpointId": endpoint_id,
        "Description": description,
        "GroupId": group_id,
        "AccessAll": group_id == _ALL_GROUPS,
        "DestinationCidr": destination_cidr,
        "Status": make_status(status_code, status_message),
    }
