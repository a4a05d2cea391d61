"""What is accounted: hours of associations and hours of connections, for any period.

The service that Portway is modelled on bills each active association of an endpoint and each client connection by the
hour, pro-rated. Here an hour is 3,600 seconds, and everything is counted in whole seconds that are added as integers:
two periods that adjoin have together exactly what the period over both has. Only what is printed is rounded.

An association goes on until it is disassociated; a connection until it ends, or as far as its gateway last saw it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Text, case, cast, func, or_, select

from gateway.actions.call import ActionError, Call, action
from gateway.actions.history import moment, of_endpoints
from gateway.actions.listing import paginate
from gateway.store.schema import usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Row

__all__ = ["format_hours", "get"]

HOUR_S = 3600
_PLACES = Decimal("0.000001")


@dataclass(slots=True)
class _Sum:
    """Seconds by kind, and how many connections they come from."""

    seconds: Counter[str] = field(default_factory=Counter)
    connections: int = 0

    def add(self, row: Row[Any]) -> None:
        self.seconds[row.kind] += int(row.seconds)
        if row.kind == "connection":
            self.connections += row.intervals


@action("GetUsage")
def get(call: Call) -> dict[str, Any]:
    """Sum up a period by endpoint, by user or by group.

    The period is this month so far where none is given. Associations belong to endpoints and to no user or group;
    a user of several groups counts in each, and once in the total.
    """
    start, end = _period(call)
    by = call.parameters.get("GroupBy", "endpoint")
    rows = _sums(call, start, end)
    sums = _grouped(rows, _KEYS[by])
    page, token = paginate(call, sums.items(), key=lambda item: item[0])
    return {
        "StartTime": moment(start),
        "EndTime": moment(end),
        "GroupBy": by,
        "UsageRecords": [{_MEMBERS[by]: key, **_shape(total, by == "endpoint")} for key, total in page],
        "Total": _shape(_grouped(rows, lambda _: ("",))[""], with_associations=True),
        "NextToken": token,
    }


def format_hours(seconds: int) -> str:
    """Hours in decimals, rounded once: `1.5`, `0.000278`."""
    hours = Fraction(seconds, HOUR_S)
    with localcontext(prec=40):
        rounded = (Decimal(hours.numerator) / hours.denominator).quantize(_PLACES, ROUND_HALF_EVEN).normalize()
    return f"{rounded:f}"


_MEMBERS = {"endpoint": "ClientVpnEndpointId", "user": "Username", "group": "GroupId"}
_KEYS: Mapping[str, Callable[[Row[Any]], Iterable[str]]] = {
    "endpoint": lambda row: (row.endpoint_id,),
    "user": lambda row: (row.name,) if row.kind == "connection" else (),
    "group": lambda row: frozenset(json.loads(row.groups)) or ("",) if row.kind == "connection" else (),
}
"""Under which names a row counts."""


def _period(call: Call) -> tuple[int, int]:
    """In whole Unix seconds. Raises `InvalidParameterCombination`."""
    now = datetime.fromtimestamp(call.now, UTC)
    start = call.parameters.get("StartTime") or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = call.parameters.get("EndTime") or now
    if start > end:
        raise ActionError("InvalidParameterCombination", "StartTime has to be before EndTime.")
    return int(start.timestamp()), int(end.timestamp())


def _sums(call: Call, start: int, end: int) -> list[Row[Any]]:
    """Seconds inside the period, added up by the database for each endpoint, user and set of groups."""
    last = func.coalesce(usage.c.ended_at, case((usage.c.kind == "association", int(call.now)), else_=usage.c.seen_at))
    first_second = case((usage.c.started_at < start, start), else_=usage.c.started_at)
    last_second = case((last > end, end), else_=last)
    groups = cast(usage.c.groups, Text)
    chosen = select(
        usage.c.kind,
        usage.c.endpoint_id,
        usage.c.name,
        groups.label("groups"),
        func.sum(cast(last_second, BigInteger) - cast(first_second, BigInteger)).label("seconds"),
        func.count().label("intervals"),
    ).where(
        usage.c.started_at < end,
        or_(last > start, usage.c.started_at >= start),
        *of_endpoints(call, usage.c.endpoint_id),
    )
    if "Username" in call.parameters:
        chosen = chosen.where(usage.c.name == call.parameters["Username"])
    return list(call.connection.execute(chosen.group_by(usage.c.kind, usage.c.endpoint_id, usage.c.name, groups)))


def _grouped(rows: Iterable[Row[Any]], keys: Callable[[Row[Any]], Iterable[str]]) -> defaultdict[str, _Sum]:
    sums: defaultdict[str, _Sum] = defaultdict(_Sum)
    for row in rows:
        for key in keys(row):
            sums[key].add(row)
    return sums


def _shape(total: _Sum, with_associations: bool) -> dict[str, Any]:
    connected, associated = total.seconds["connection"], total.seconds["association"]
    shape = {
        "Connections": total.connections,
        "ConnectionSeconds": connected,
        "ConnectionHours": format_hours(connected),
    }
    if with_associations:
        shape |= {"AssociationSeconds": associated, "AssociationHours": format_hours(associated)}
    return shape
