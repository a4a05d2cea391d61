"""The audit log: who changed what, or tried to, from where, and what came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.actions.call import Call, action
from gateway.actions.history import during, moment, newest_first
from gateway.store.schema import audit

if TYPE_CHECKING:
    from sqlalchemy import Row

__all__ = ["describe"]

_EXACT = {
    "CallerId": audit.c.caller,
    "ActionName": audit.c.action,
    "ResourceId": audit.c.resource_id,
    "Outcome": audit.c.outcome,
}


@action("DescribeAuditEvents")
def describe(call: Call) -> dict[str, Any]:
    """List entries, the newest first, by time, caller, action, resource and outcome.

    Who may know of certain endpoints sees what concerns these.
    """
    conditions = during(call, audit.c.at)
    conditions += [column == call.parameters[name] for name, column in _EXACT.items() if name in call.parameters]
    if call.caller.endpoint_ids:
        conditions.append(audit.c.resource_id.in_(sorted(call.caller.endpoint_ids)))
    page, token = newest_first(call, audit, conditions)
    return {"AuditEvents": [_shape(row) for row in page], "NextToken": token}


def _shape(row: Row[Any]) -> dict[str, Any]:
    """Parameters and objects are JSON text: each action has others."""
    return {
        "EventId": str(row.id),
        "EventTime": moment(row.at),
        "RequestId": row.request_id,
        "CallerId": row.caller,
        "Face": row.face,
        "SourceIp": row.source_ip,
        "ActionName": row.action,
        "ResourceId": row.resource_id,
        "Outcome": row.outcome,
        "Parameters": json.dumps(row.parameters),
        "Before": None if row.before is None else json.dumps(row.before),
        "After": None if row.after is None else json.dumps(row.after),
    }
