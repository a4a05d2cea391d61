"""Endpoints: making, changing, showing and deleting them.

An endpoint that is made here waits for its first association, and only then do gateways run it. One that is deleted
keeps its row until no gateway runs it any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from gateway.actions.call import ActionError, Call, action
from gateway.actions.control_channel_keys import make_control_channel_keys
from gateway.actions.ending import end_endpoint_with_range
from gateway.actions.endpoint_conflicts import check_possible
from gateway.actions.endpoint_shapes import endpoint_name, endpoint_shapes, with_name
from gateway.actions.endpoint_values import read_changes, read_new
from gateway.actions.endpoint_vpc import read_vpc, regroup_associations
from gateway.actions.listing import paginate, parse_filters
from gateway.actions.objects import find_endpoint, is_visible, new_id, status_shape
from gateway.actions.tagging import forget_tags, put_tags, specified_tags, tags_of
from gateway.store.schema import association, endpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Row

__all__ = [
    "RESOURCE_TYPE",
    "add_endpoint",
    "begin_deletion",
    "change_endpoint",
    "create_endpoint",
    "delete_endpoint",
    "describe_endpoints",
    "modify_endpoint",
]

RESOURCE_TYPE = "client-vpn-endpoint"
"""What tags call an endpoint."""


@action("CreateClientVpnEndpoint", changes=True)
def create_endpoint(call: Call) -> dict[str, Any]:
    """Make an endpoint.

    Raises `ClientVpnEndpointLimitExceeded`, and what `endpoint_values`, `endpoint_vpc` and `endpoint_conflicts` raise.
    """
    return add_endpoint(call, {**read_new(call), **read_vpc(call), "settings": {}})


def add_endpoint(call: Call, values: Mapping[str, Any], *, moving: Collection[str] = ()) -> dict[str, Any]:
    """Make an endpoint with these columns, and the tags that the call has. Raises what `create_endpoint` raises.

    `moving` are those that the same transaction is to change: see `check_possible`.
    """
    _check_quota(call)
    endpoint_id = new_id("cvpn-endpoint")
    tags = specified_tags(call, RESOURCE_TYPE)
    check_possible(call, endpoint_id, values, values.keys(), moving=moving)
    end_endpoint_with_range(call, values["client_cidr_block"])
    call.connection.execute(
        insert(endpoint).values(
            id=endpoint_id,
            origin="api",
            status_code="pending-associate",
            created_at=call.now,
            control_channel_keys=make_control_channel_keys(call.vault),
            **values,
        )
    )
    put_tags(call, endpoint_id, RESOURCE_TYPE, tags)
    row = find_endpoint(call, endpoint_id)
    call.resource_id = endpoint_id
    (call.after,) = endpoint_shapes(call, [row])
    return {"ClientVpnEndpointId": row.id, "Status": status_shape(row), "DnsName": endpoint_name(call, row)}


@action("ModifyClientVpnEndpoint", changes=True)
def modify_endpoint(call: Call) -> dict[str, Any]:
    """Change what is named, and leave the rest. Raises what `endpoint_values` and its neighbours raise."""
    row = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    return change_endpoint(call, row, {**read_changes(call), **read_vpc(call, row)})


def change_endpoint(
    call: Call, row: Row[Any], named: Mapping[str, Any], *, moving: Collection[str] = ()
) -> dict[str, Any]:
    """Give an endpoint other columns. Raises `InvalidParameterValue` where it cannot be with them.

    `moving` are those that the same transaction is to change: see `check_possible`.
    """
    (call.before,) = endpoint_shapes(call, [row])
    changed = {column: value for column, value in named.items() if getattr(row, column) != value}
    check_possible(call, row.id, {**row._asdict(), **changed}, changed, moving=moving)
    if "client_cidr_block" in changed:
        end_endpoint_with_range(call, changed["client_cidr_block"])
    regroups = "default_security_group_ids" in named
    call.affects_gateways = bool(changed) or regroups
    if changed:
        call.connection.execute(update(endpoint).where(endpoint.c.id == row.id).values(**changed))
    if regroups:
        regroup_associations(call, row.id, named["default_security_group_ids"])
    (call.after,) = endpoint_shapes(call, [find_endpoint(call, row.id)])
    return {"Return": True}


@action("DeleteClientVpnEndpoint", changes=True)
def delete_endpoint(call: Call) -> dict[str, Any]:
    """Begin to delete an endpoint; doing so again changes nothing. Raises `DependencyViolation`."""
    row = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_deletion=True)
    _check_unassociated(call, row)
    return begin_deletion(call, row)


def begin_deletion(call: Call, row: Row[Any]) -> dict[str, Any]:
    """Begin to delete an endpoint, whose target networks go with it."""
    (call.before,) = endpoint_shapes(call, [row])
    call.affects_gateways = row.status_code != "deleting"
    call.connection.execute(
        update(endpoint).where(endpoint.c.id == row.id).values(status_code="deleting", status_message="")
    )
    forget_tags(call, row.id)
    return {"Status": {"Code": "deleting"}}


@action("DescribeClientVpnEndpoints")
def describe_endpoints(call: Call) -> dict[str, Any]:
    """List endpoints, those of configuration files too. Raises `InvalidClientVpnEndpointId.NotFound`."""
    filters = parse_filters(call, ("endpoint-id", "transport-protocol"), tagged=True)
    rows = _asked(call)
    tags = tags_of(call, [row.id for row in rows])
    matching = [
        row
        for row in rows
        if filters.match(
            {"endpoint-id": row.id, "transport-protocol": row.transport_protocols}, with_name(row, tags[row.id])
        )
    ]
    page, token = paginate(call, matching, key=lambda row: (row.created_at, row.id))
    return {"ClientVpnEndpoints": endpoint_shapes(call, page), "NextToken": token}


def _asked(call: Call) -> Sequence[Row[Any]]:
    asked = call.parameters.get("ClientVpnEndpointIds")
    if asked:
        return [find_endpoint(call, endpoint_id) for endpoint_id in dict.fromkeys(asked)]
    rows = call.connection.execute(select(endpoint).where(endpoint.c.ended_at.is_(None)))
    return [row for row in rows if is_visible(call, row.id)]


def _check_quota(call: Call) -> None:
    limit = call.settings.quotas.endpoints
    count = call.connection.execute(
        select(func.count()).where(
            endpoint.c.ended_at.is_(None), endpoint.c.origin == "api", endpoint.c.status_code != "deleting"
        )
    ).scalar_one()
    if limit and count >= limit:
        raise ActionError(
            "ClientVpnEndpointLimitExceeded",
            f"There are {count} endpoints, and the limit is {limit}. Raise `endpoints` in [api.quotas].",
        )


def _check_unassociated(call: Call, row: Row[Any]) -> None:
    alive = call.connection.scalars(
        select(association.c.id)
        .where(association.c.endpoint_id == row.id, association.c.ended_at.is_(None))
        .order_by(association.c.id)
    ).all()
    if alive:
        raise ActionError(
            "DependencyViolation",
            f"The endpoint {row.id} still has target networks: {', '.join(alive)}. Disassociate them first.",
        )
