"""One round: from what stands in the store to what runs, and back.

    read ▶ publish ▶ terminate ▶ carry out ▶ keep ▶ write statuses

Every round does everything that follows from the rows as they stand, so that nothing has to be remembered: wherever one
is cut off, the next one ends it. What is being carried out is not cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import structlog
import trio
from sqlalchemy.exc import SQLAlchemyError

from gateway.managed.declaring import declare
from gateway.managed.publishing import note_seen, publish
from gateway.managed.snapshot import read_snapshot
from gateway.managed.statuses import status_changes, write_changes
from gateway.managed.terminations import Terminations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway.fleet import Fleet
    from gateway.hostnet import HostProblem
    from gateway.managed.controller import Controller
    from gateway.managed.last_known import LastKnown
    from gateway.managed.publishing import Declaration
    from gateway.managed.snapshot import Snapshot
    from gateway.managed.statuses import Change, Outcome
    from gateway.reload import Reconciler
    from gateway.store import Store

__all__ = ["Rounds"]

T = TypeVar("T")

logger = structlog.get_logger("store")


class Rounds:
    """Goes round by round, between one store and one fleet."""

    def __init__(
        self,
        store: Store,
        controller: Controller,
        last_known: LastKnown,
        reconciler: Reconciler,
        fleet: Fleet,
        *,
        speaks: Callable[[], bool],
        file: Path,
        unix_time: Callable[[], float],
    ) -> None:
        """`speaks` says whether this gateway is the one that says how objects fare, `file` is its configuration."""
        self._store = store
        self._controller = controller
        self._last_known = last_known
        self._reconciler = reconciler
        self._fleet = fleet
        self._speaks = speaks
        self._file = file
        self._unix_time = unix_time
        self._started_at = unix_time()
        self._node = reconciler.config.settings.node
        self._published: Declaration | None = None
        self._terminations = Terminations(store, lambda: fleet.endpoints, node=self._node)

    async def go(self, host_problems: tuple[HostProblem, ...], *, shows_own: bool) -> Mapping[str, Outcome]:
        """Bring everything to what stands in the store; what became of each endpoint. Raises `StoreError`.

        With `shows_own`, what this gateway's files declare is brought to the store as well.
        """
        snapshot = await _in_thread(lambda: read_snapshot(self._store, self._node))
        if shows_own:
            await self._show_own(host_problems)
        await self._terminations.carry_out()
        with trio.CancelScope(shield=True):  # what is half done would look done to the next round
            outcomes = await self._controller.carry_out(snapshot, host_problems)
            await _in_thread(lambda: self._last_known.keep(snapshot))
        if await _in_thread(self._speaks):
            await self._write_statuses(snapshot, outcomes)
        return outcomes

    async def _write_statuses(self, snapshot: Snapshot, outcomes: Mapping[str, Outcome]) -> None:
        now = self._unix_time()
        elsewhere = snapshot.elsewhere - {network.subnet_id for network in self._reconciler.config.networks}
        changes: list[Change] = []
        for endpoint in snapshot.endpoints if outcomes else ():
            try:
                changes += status_changes(endpoint, outcomes[endpoint.row.id], now, elsewhere)
            except Exception:  # the others' are written all the same
                logger.exception("the status of an endpoint cannot be told", endpoint=endpoint.row.id)
        if changes:
            await _in_thread(lambda: write_changes(self._store, changes, now))

    async def _show_own(self, host_problems: tuple[HostProblem, ...]) -> None:
        config, down, now = self._reconciler.config, dict(self._fleet.down), self._unix_time()
        own = await _in_thread(lambda: declare(self._file, config, down, host_problems, self._started_at))
        if own == self._published and await _in_thread(lambda: note_seen(self._store, own, now)):
            return
        try:
            await _in_thread(lambda: publish(self._store, own, now))
        except SQLAlchemyError:
            logger.exception("what the configuration file declares cannot be shown in the store")
        self._published = own


async def _in_thread(work: Callable[[], T]) -> T:
    """Do what blocks; a cancelled one is left to its thread, which ends with the database's time limits."""
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
