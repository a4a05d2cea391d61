"""What lists of what has happened share: a period, the endpoints that a caller may know of, the newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, tuple_

from gateway.actions.call import ActionError, Call
from gateway.actions.listing import paginate_in_order
from gateway.actions.objects import is_visible
from gateway.store.schema import endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column, ColumnElement, Row, Table

__all__ = ["during", "moment", "newest_first", "of_endpoints"]

_AT_ONCE = 250
"""Rows that are read ahead of what a page needs."""
_BEYOND_IDS = 2**63


def moment(unix_s: float) -> datetime:
    """A time as replies have it."""
    return datetime.fromtimestamp(unix_s, UTC)


def during(call: Call, at: Column[Any]) -> list[ColumnElement[bool]]:
    """From `StartTime`, to before `EndTime`, where they are given. Raises `InvalidParameterCombination`."""
    start, end = call.parameters.get("StartTime"), call.parameters.get("EndTime")
    if start is not None and end is not None and start >= end:
        raise ActionError("InvalidParameterCombination", "StartTime has to be before EndTime.")
    since = [] if start is None else [at >= start.timestamp()]
    return since if end is None else [*since, at < end.timestamp()]


def of_endpoints(call: Call, column: Column[Any]) -> list[ColumnElement[bool]]:
    """Of `ClientVpnEndpointId` where it is given, and of endpoints that the caller may know of.

    What an endpoint has left behind may be asked for after its end. Raises `InvalidClientVpnEndpointId.NotFound` for
    one of which there is no trace.
    """
    endpoint_id = call.parameters.get("ClientVpnEndpointId")
    if endpoint_id is None:
        limits = call.caller.endpoint_ids
        return [column.in_(sorted(limits))] if limits else []
    traces = (select(owner).where(owner == endpoint_id).limit(1) for owner in (endpoint.c.id, column))
    if not is_visible(call, endpoint_id) or not any(call.connection.execute(trace).first() for trace in traces):
        raise ActionError("InvalidClientVpnEndpointId.NotFound", f"There is no endpoint {endpoint_id!r}, nor was one.")
    return [column == endpoint_id]


def newest_first(
    call: Call, table: Table, conditions: Sequence[ColumnElement[bool]]
) -> tuple[list[Row[Any]], str | None]:
    """The page that the caller asks for of a table with `at` and a growing `id`, and the token of the next one."""
    key = tuple_(table.c.at, table.c.id)
    chosen = select(table).where(*conditions).order_by(table.c.at.desc(), table.c.id.desc())

    def rest(last: Any) -> Iterator[Row[Any]]:
        beyond = chosen if last is None else chosen.where(key < _checked(last))
        with call.connection.execute(beyond, execution_options={"yield_per": _AT_ONCE}) as rows:
            yield from rows

    return paginate_in_order(call, rest, key=lambda row: (row.at, row.id))


def _checked(last: Any) -> tuple[float, int]:
    match last:
        case (float(at), int(number)) if abs(number) < _BEYOND_IDS:
            return at, number
        case _:
            raise TypeError("a key of another list")
