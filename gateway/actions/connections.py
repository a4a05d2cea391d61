"""Connections of clients: who is connected, who was until lately, and who shall not be any more.

Owns the status `terminating`; everything else about a connection is written by the gateway that has it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import or_, select, tuple_, update

from gateway.actions.call import ActionError, Call, action
from gateway.actions.listing import paginate_in_order, parse_filters
from gateway.actions.objects import find_endpoint, make_status, status_shape
from gateway.store.schema import connection
from gateway.timestamps import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Row, Select

__all__ = ["SHOWN_AFTER_END_S", "describe", "terminate"]

SHOWN_AFTER_END_S: Final = 3600
"""How long a connection that has ended is shown; AWS's 60 minutes."""

_AT_ONCE: Final = 250
"""Rows that are read ahead of what a page needs."""
_NOT_YET: Final = "-"
"""What AWS shows for the end of a connection that goes on."""
_SHOWN: Final = (
    *(connection.c.id, connection.c.endpoint_id, connection.c.username, connection.c.common_name),
    *(connection.c.client_ip, connection.c.status_code, connection.c.status_message),
    *(connection.c.established_at, connection.c.updated_at, connection.c.ended_at),
    *(connection.c.ingress_bytes, connection.c.egress_bytes),
    *(connection.c.ingress_packets, connection.c.egress_packets),
)
"""What `_shape` takes, in this order."""
_ID: Final = re.compile(r"[a-z0-9-]+")


@action("DescribeClientVpnConnections")
def describe(call: Call) -> dict[str, Any]:
    """List the connections of an endpoint, those that ended in the last hour included, the oldest first.

    The filter `username` looks at the name of the certificate as well: a client has one of the two, or both.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"])
    filters = parse_filters(call, {"connection-id", "username"})

    def rest(last: Any) -> Iterator[Row[Any]]:
        rows = _in_order(call, owner, last)
        return (row for row in rows if filters.match(_attributes(row))) if filters.filters else rows

    page, token = paginate_in_order(call, rest, key=lambda row: (row.established_at, row.id))
    return {"Connections": [_shape(row) for row in page], "NextToken": token}


@action("TerminateClientVpnConnections", changes=True)
def terminate(call: Call) -> dict[str, Any]:
    """End one connection, or all of a user's; nothing keeps the user from connecting anew.

    A connection that is ending or has lately ended stays as it is. Endpoints of files have connections to end like any
    other. Raises `InvalidClientVpnConnection.IdNotFound` and `.UserNotFound`, and
    `ClientVpnTerminateConnectionsLimitExceeded` where a user has more than may end at once.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"])
    connection_id, username = call.parameters.get("ConnectionId"), call.parameters.get("Username")
    if connection_id and username:
        raise ActionError("InvalidParameterCombination", "Give ConnectionId or Username, not both.")
    if connection_id:
        rows = [_find(call, owner, connection_id)]
    elif username:
        rows = _live_of_user(call, owner, username)
    else:
        raise ActionError("MissingParameter", "Name a connection with ConnectionId, or a user with Username.")
    reply = {"ClientVpnEndpointId": owner.id, "ConnectionStatuses": _end(call, rows)}
    return reply | ({"Username": username} if username else {})


def _in_order(call: Call, owner: Row[Any], last: Any) -> Iterator[Row[Any]]:
    key = tuple_(connection.c.established_at, connection.c.id)
    chosen: Select[Any] = select(*_SHOWN).where(*_still_shown(call, owner)).order_by(*key.clauses)
    if last is not None:
        chosen = chosen.where(key > _checked_key(last))
    with call.connection.execute(chosen, execution_options={"yield_per": _AT_ONCE}) as rows:
        yield from rows


def _checked_key(last: Any) -> tuple[float, str]:
    match last:
        case (float(established_at), str(connection_id)) if _ID.fullmatch(connection_id):
            return established_at, connection_id
        case _:
            raise TypeError("a key of another list")


def _still_shown(call: Call, owner: Row[Any]) -> tuple[ColumnElement[bool], ...]:
    ended_at = connection.c.ended_at
    return connection.c.endpoint_id == owner.id, or_(ended_at.is_(None), ended_at > call.now - SHOWN_AFTER_END_S)


def _attributes(row: Row[Any]) -> dict[str, str | tuple[str, ...]]:
    return {"connection-id": row.id, "username": tuple(filter(None, (row.username, row.common_name)))}


def _find(call: Call, owner: Row[Any], connection_id: str) -> Row[Any]:
    row = call.connection.execute(
        select(connection).where(connection.c.id == connection_id, *_still_shown(call, owner))
    ).one_or_none()
    if row is None:
        raise ActionError(
            "InvalidClientVpnConnection.IdNotFound",
            f"{owner.id} has no connection {connection_id!r}, nor had one lately.",
        )
    return row


def _live_of_user(call: Call, owner: Row[Any], username: str) -> list[Row[Any]]:
    chosen = (
        select(connection)
        .where(
            connection.c.endpoint_id == owner.id,
            connection.c.ended_at.is_(None),
            or_(connection.c.username == username, connection.c.common_name == username),
        )
        .order_by(connection.c.established_at, connection.c.id)
    )
    rows = list(call.connection.execute(chosen))
    if not rows:
        raise ActionError("InvalidClientVpnConnection.UserNotFound", f"{username!r} is not connected to {owner.id}.")
    limit = call.settings.quotas.sessions_per_terminated_user
    if limit and len(rows) > limit:
        raise ActionError(
            "ClientVpnTerminateConnectionsLimitExceeded",
            f"{username!r} has {len(rows)} connections; up to {limit} end at once. Terminate them by their ids, "
            "or raise sessions_per_terminated_user in [api.quotas].",
        )
    return rows


def _end(call: Call, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Ask for the end of those that go on, and say of each what it was and is."""
    going_on = [row.id for row in rows if row.ended_at is None and row.status_code != "terminating"]
    call.connection.execute(
        update(connection).where(connection.c.id.in_(going_on)).values(status_code="terminating", status_message="")
    )
    call.affects_gateways = bool(going_on)
    statuses = [
        {
            "ConnectionId": row.id,
            "PreviousStatus": status_shape(row),
            "CurrentStatus": {"Code": "terminating"} if row.id in going_on else status_shape(row),
        }
        for row in rows
    ]
    call.before = {one["ConnectionId"]: one["PreviousStatus"] for one in statuses}
    call.after = {one["ConnectionId"]: one["CurrentStatus"] for one in statuses}
    return statuses


def _shape(row: Sequence[Any]) -> dict[str, Any]:
    # Asking a thousand rows for their columns by name costs more than fetching them.
    connection_id, endpoint_id, username, common_name, client_ip, status_code, status_message, *numbers = row
    established_at, updated_at, ended_at, ingress_bytes, egress_bytes, ingress_packets, egress_packets = numbers
    shape = {
        "ClientVpnEndpointId": endpoint_id,
        "Timestamp": timestamp(updated_at),
        "ConnectionId": connection_id,
        "ConnectionEstablishedTime": timestamp(established_at),
        "IngressBytes": str(ingress_bytes),
        "EgressBytes": str(egress_bytes),
        "IngressPackets": str(ingress_packets),
        "EgressPackets": str(egress_packets),
        "ClientIp": client_ip,
        "CommonName": common_name,
        "Status": make_status(status_code, status_message),
        "ConnectionEndTime": _NOT_YET if ended_at is None else timestamp(ended_at),
    }
    return shape | {"Username": username} if username else shape
