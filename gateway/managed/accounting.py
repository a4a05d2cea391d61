"""Which associations are accounted, and since when.

An endpoint costs by the hour for each of its associations, as the service does that it is modelled on: from the moment
when the target network is associated until it is disassociated, whether or not anybody is connected and whether or
not a gateway runs meanwhile. One that has never come about (`association-failed`) is not accounted.

It follows from the rows of `association` alone, so it is right after any interruption; whoever sets an association to
`associated` calls it in the same transaction, and then it is right to the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, exists, insert, literal, select, update
from sqlalchemy.types import JSON, Double

from gateway.store.schema import association, usage

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["account_associations"]


def account_associations(transaction: Connection, now: float) -> None:
    """Begin the interval of each association that has come about, and end that of each that is no more."""
    second = float(int(now))
    transaction.execute(_BEGIN, {"now": second})
    ended = [{"its_id": interval, "ended": _end(*times)} for interval, *times in transaction.execute(_OVER)]
    if ended:
        transaction.execute(_END, ended)
    transaction.execute(_SEE, {"now": second})


def _end(started_at: float, seen_at: float, over_at: float | None) -> float:
    """Where the row of the association is gone altogether, it was last seen at `seen_at`."""
    return seen_at if over_at is None else max(started_at, float(int(over_at)))


_is_open = (usage.c.kind == "association") & usage.c.ended_at.is_(None)
_of_interval = association.c.id == usage.c.id
_now = bindparam("now", type_=Double)

_BEGIN = insert(usage).from_select(
    ["kind", "id", "endpoint_id", "groups", "started_at", "seen_at"],
    select(literal("association"), association.c.id, association.c.endpoint_id, literal([], JSON), _now, _now).where(
        association.c.status_code == "associated",
        ~exists().where(usage.c.kind == "association", _of_interval),
    ),
)
_OVER = (
    select(usage.c.id, usage.c.started_at, usage.c.seen_at, association.c.ended_at.label("over_at"))
    .outerjoin(association, _of_interval)
    .where(_is_open, association.c.id.is_(None) | association.c.ended_at.is_not(None))
)
_END = update(usage).where(_is_open, usage.c.id == bindparam("its_id")).values(ended_at=bindparam("ended"))
_SEE = update(usage).where(_is_open).values(seen_at=_now)
