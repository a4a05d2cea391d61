"""Ends the sessions that the API has been asked to end: rows of `connection` with the status `terminating`.

    terminating ▶ session ended ▶ terminated          (written by the mirror, with the end of the session)
                ▶ there is none ▶ terminated          (it ended before anybody looked)
                ▶ it does not end ▶ failed-to-terminate, with a sentence

Level-triggered: `carry_out` may be called as often as anybody likes, and after any interruption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio
from sqlalchemy import bindparam, func, select, update

from gateway.store.schema import connection as connections
from gateway.store.schema import usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.endpoint import Endpoint
    from gateway.sessions import Session
    from gateway.store import Store

__all__ = ["Terminations"]

logger = structlog.get_logger("store")


class Terminations:
    """Carries out terminations on this node."""

    def __init__(
        self,
        store: Store,
        endpoints: Callable[[], Iterable[Endpoint]],
        *,
        node: str,
    ) -> None:
        """`endpoints` gives those that run."""
        self._store = store
        self._endpoints = endpoints
        self._node = node

    async def carry_out(self) -> None:
        """End what is to be ended now. Raises `StoreError`."""
        gone, failed = [], []
        for connection_id in await trio.to_thread.run_sync(self._asked, abandon_on_cancel=True):
            found = self._find(connection_id)
            if found is None:
                gone.append(connection_id)
            elif not _end(*found):
                failed.append(connection_id)
        if gone or failed:
            await trio.to_thread.run_sync(self._note, gone, failed, abandon_on_cancel=True)

    def _find(self, connection_id: str) -> tuple[Endpoint, Session] | None:
        for endpoint in self._endpoints():
            session = endpoint.sessions.of_id(connection_id)
            if session is not None and not session.ended:
                return endpoint, session
        return None

    # In the thread

    def _asked(self) -> tuple[str, ...]:
        with self._store.read() as transaction:
            return tuple(
                transaction.scalars(
                    select(connections.c.id).where(
                        connections.c.node == self._node,
                        connections.c.status_code == "terminating",
                        connections.c.ended_at.is_(None),
                    )
                )
            )

    def _note(self, gone: list[str], failed: list[str]) -> None:
        with self._store.write(affects_gateways=False) as transaction:
            if gone:
                transaction.execute(_TERMINATED, [{"its_id": connection_id} for connection_id in gone])
            if failed:
                transaction.execute(_FAILED, [{"its_id": connection_id} for connection_id in failed])


def _end(endpoint: Endpoint, session: Session) -> bool:
    """Whether that worked; a fault concerns this session alone."""
    try:
        endpoint.terminate(session)
    except Exception:
        logger.exception("session could not be terminated", connection_id=session.connection_id)
    return session.ended


_still_asked = (connections.c.id == bindparam("its_id")) & (connections.c.status_code == "terminating")
_last_seen = (
    select(usage.c.seen_at).where(usage.c.kind == "connection", usage.c.id == connections.c.id).scalar_subquery()
)
_TERMINATED = (
    update(connections)
    .where(_still_asked)
    .values(
        status_code="terminated", ended_at=func.coalesce(connections.c.ended_at, _last_seen, connections.c.updated_at)
    )
)
"""For who had no other end; where the mirror has one still to write, that is the exact one, and replaces this."""
_FAILED = (
    update(connections)
    .where(_still_asked)
    .values(
        status_code="failed-to-terminate",
        status_message="A fault in the gateway kept the session from ending; the daemon's log says more. Try again.",
    )
)
