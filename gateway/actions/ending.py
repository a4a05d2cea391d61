"""What is ending, and stands where something new is to be, gives way at once.

Gateways otherwise say when an endpoint or association is gone. They read all rows at one moment, and take down before
they put up: what replaces something and what it replaces are one change to them, and nobody has to wait in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from gateway.store.schema import association, association_security_group, authorization_rule, crl, endpoint, route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.actions.call import Call

__all__ = ["end_association", "end_endpoint_with_range"]


def end_association(call: Call, association_id: str) -> None:
    """End an association that is being disassociated, with its routes and its hold on security groups."""
    _end_associations(call, [association_id])


def end_endpoint_with_range(call: Call, client_range: str) -> None:
    """End the endpoint of this client range, if one is being deleted, with all that is its own."""
    ending = call.connection.scalar(
        select(endpoint.c.id).where(
            endpoint.c.client_cidr_block == client_range,
            endpoint.c.ended_at.is_(None),
            endpoint.c.status_code == "deleting",
        )
    )
    if ending is None:
        return
    alive = select(association.c.id).where(association.c.endpoint_id == ending, association.c.ended_at.is_(None))
    _end_associations(call, call.connection.scalars(alive).all())
    for table in (route, authorization_rule, crl):
        call.connection.execute(delete(table).where(table.c.endpoint_id == ending))
    call.connection.execute(
        update(endpoint)
        .where(endpoint.c.id == ending)
        .values(status_code="deleted", status_message="", ended_at=call.now)
    )


def _end_associations(call: Call, association_ids: Sequence[str]) -> None:
    for table in (route, association_security_group):
        call.connection.execute(delete(table).where(table.c.association_id.in_(association_ids)))
    call.connection.execute(
        update(association)
        .where(association.c.id.in_(association_ids))
        .values(status_code="disassociated", status_message="", ended_at=call.now)
    )
