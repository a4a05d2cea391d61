"""The connection log, as far as the store has it: every attempt to connect, and every end of a connection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.actions.call import Call, action
from gateway.actions.history import during, moment, newest_first, of_endpoints
from gateway.store.schema import connection_event as events

if TYPE_CHECKING:
    from sqlalchemy import Row

__all__ = ["describe"]

_EXACT = {"Username": events.c.name, "ConnectionId": events.c.connection_id, "Outcome": events.c.outcome}

_FROM_LINE = {
    "Reason": "reason-code",
    "FailureReason": "connection-attempt-failure-reason",
    "DeviceIp": "device-ip",
    "ClientIp": "client-ip",
    "Node": "node",
    "DurationSeconds": "connection-duration-seconds",
}
_NOTHING = "NA"
"""What the log writes where there is nothing to say."""


@action("DescribeConnectionLog")
def describe(call: Call) -> dict[str, Any]:
    """List lines of the log, the newest first, by time, endpoint, user, connection and outcome.

    `Username` is the name that the connection was made under: the certificate's, where there is no other.
    """
    conditions = [*during(call, events.c.at), *of_endpoints(call, events.c.endpoint_id)]
    conditions += [column == call.parameters[name] for name, column in _EXACT.items() if name in call.parameters]
    page, token = newest_first(call, events, conditions)
    return {"ConnectionLogRecords": [_shape(row) for row in page], "NextToken": token}


def _shape(row: Row[Any]) -> dict[str, Any]:
    shape = {
        "Timestamp": moment(row.at),
        "ClientVpnEndpointId": row.endpoint_id,
        "ConnectionId": row.connection_id,
        "Username": row.name,
        "Outcome": row.outcome,
        "Record": json.dumps(row.record),
    }
    said = {member: row.record.get(key, _NOTHING) for member, key in _FROM_LINE.items()}
    return shape | {member: text for member, text in said.items() if text != _NOTHING}
