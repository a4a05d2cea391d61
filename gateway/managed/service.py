"""`ManagedService`: the daemon's side of the store, kept going for as long as the daemon runs.

the store can be opened ──▶ rounds: what stands in it is carried out    (whenever it changes, and every half minute)
         │                  mirror: what happens to sessions is written            (whenever there is news)
         └─ it cannot be ──▶ what was last known runs, or what runs goes on, and sessions do not notice; try again
"""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
import trio

from gateway.managed.backlog import Backlog
from gateway.managed.building import FAULT
from gateway.managed.controller import Controller
from gateway.managed.last_known import LastKnown
from gateway.managed.mirror import StoreMirror, live_counters
from gateway.managed.retention import Retention
from gateway.managed.rounds import Rounds
from gateway.store import NameTakenError, StoreError, Vault, open_store, watch_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway.connection_log import ConnectionLog, ConnectionRecord
    from gateway.fleet import Fleet
    from gateway.hostnet import HostProblem
    from gateway.managed.statuses import Outcome
    from gateway.reload import Reconciler
    from gateway.store import ChangeWatch, Lease, Store

__all__ = ["ManagedService"]

ROUND_S = 30.0
"""After this, everything is looked at without a change."""
RETRY_S = 1.0
"""Before the store is asked again that did not answer; where it could not be opened, doubles up to `RETRY_MOST_S`.
Before what has failed is tried again, too, which doubles up to `ROUND_S`."""
RETRY_MOST_S = 30.0

_NOT_OPENED = "it has not been opened yet"

logger = structlog.get_logger("store")


class ManagedService:
    """Serves the endpoints that were made at run time, and shows those of the file."""

    def __init__(
        self,
        file: Path,
        reconciler: Reconciler,
        fleet: Fleet,
        connection_log: ConnectionLog,
        *,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        """`file` is the configuration file."""
        self._file = file
        self._reconciler = reconciler
        self._fleet = fleet
        self._unix_time = unix_time
        self._settings = reconciler.config.settings
        self._backlog = Backlog()
        self._mirror: StoreMirror | None = None
        self._controller: Controller | None = None
        self._last_known: LastKnown | None = None
        self._host_problems: tuple[HostProblem, ...] = ()
        self._outcomes: Mapping[str, Outcome] = {}
        self._shows_own = True
        self._wake = trio.Event()
        self._problem = _NOT_OPENED
        self.refusal = ""
        """Why this gateway may not begin to work from the store at all: another one has its place there."""
        self.settled = trio.Event()
        """Set when what the store asks for, or else what was last known, has been carried out, or neither can be."""
        connection_log.follow(self._note_record)

    # What the daemon tells it, and asks

    def look_again(self) -> None:
        """Begin a round: the configuration has changed, or what the host is like."""
        self._shows_own = True
        self._wake.set()

    def note_host_problems(self, problems: tuple[HostProblem, ...]) -> None:
        """Take what is wrong with the host's network now."""
        self._host_problems = problems
        self.look_again()

    def note_host_change(self) -> None:
        """The host has other interfaces, addresses or routes: what has failed may be possible now."""
        if self._has_failures:
            self.look_again()

    async def finish(self, timeout_s: float) -> None:
        """Write what is left, once all sessions have ended and before `run` is cancelled."""
        if self._mirror is not None:
            await self._mirror.finish(timeout_s)

    def status(self) -> dict[str, Any]:
        """How it fares, as JSON can hold it."""
        return {
            "store": self._settings.store.url.partition(":")[0],
            "problem": self._problem,
            "last_known": self._last_known_status(),
            "mirror": asdict(self._mirror.status()) if self._mirror else None,
            "endpoints": {endpoint_id: _sentences(outcome) for endpoint_id, outcome in self._outcomes.items()},
        }

    def _last_known_status(self) -> dict[str, Any]:
        """Why it cannot be kept, and of when it is while it stands in for a store that was never opened."""
        known = self._last_known
        moment = known.as_of if known is not None and self._mirror is None else None
        return {
            "problem": known.problem if known is not None else "",
            "as_of": None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds"),
        }

    @property
    def _has_failures(self) -> bool:
        return any(map(_sentences, self._outcomes.values()))

    def _note_record(self, record: ConnectionRecord) -> None:
        if self._mirror is not None:
            self._mirror.note(record)
        else:
            self._backlog.note(record)

    # Its task

    async def run(self) -> None:
        """Serve until cancelled. Without its place in the store, a gateway takes its hands off it."""
        while True:
            store, lease = await self._open()
            try:
                await self._serve(store, lease)
                self._note_problem("the connection that held this gateway's place in it is lost")
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(_close, store, lease)

    async def _serve(self, store: Store, lease: Lease) -> None:
        """Serve for as long as the lease lasts."""
        self._last_known = self._last_known or LastKnown(self._settings.state_dir, store.vault)
        rounds = Rounds(
            store,
            self._controller_with(store.vault),
            self._last_known,
            self._reconciler,
            self._fleet,
            speaks=lease.speaks,
            file=self._file,
            unix_time=self._unix_time,
        )
        self._mirror = StoreMirror(
            store, lambda: live_counters(self._fleet.endpoints), node=self._settings.node, backlog=self._backlog
        )
        async with watch_changes(store) as watch, trio.open_nursery() as nursery:
            nursery.start_soon(self._mirror.run)
            nursery.start_soon(Retention(store, self._settings.store).run)
            nursery.start_soon(self._pass_on, watch)
            nursery.start_soon(self._follow, rounds)
            await lease.wait_lost()
            nursery.cancel_scope.cancel()

    async def _follow(self, rounds: Rounds) -> None:
        """Go a round whenever something has changed, and every now and then; soon, where something has failed."""
        self._shows_own = True
        pause_s = RETRY_S
        while True:
            self._wake = trio.Event()
            await self._go(rounds)
            self.settled.set()
            with trio.move_on_after(RETRY_S if self._problem else pause_s if self._has_failures else ROUND_S):
                await self._wake.wait()
                pause_s = RETRY_S
                continue
            pause_s = min(2 * pause_s, ROUND_S)
            self._shows_own = True

    async def _go(self, rounds: Rounds) -> None:
        shows_own, self._shows_own = self._shows_own, False
        try:
            self._outcomes = await rounds.go(self._host_problems, shows_own=shows_own)
        except StoreError as error:
            self._shows_own = shows_own
            self._note_problem(str(error))
        except Exception:  # whatever stands in the store, those who are connected stay so
            self._shows_own = shows_own
            if self._problem != FAULT:
                logger.exception("a round has failed")
            self._note_problem(FAULT)
        else:
            self._note_problem("")

    async def _pass_on(self, watch: ChangeWatch) -> None:
        while True:
            await watch.wait()
            self._wake.set()

    async def _open(self) -> tuple[Store, Lease]:
        """Take this gateway's place in the store, as soon as that works.

        Until then what was last known runs. What was carried out from the store already is newer than that, and stays.
        """
        pause_s = RETRY_S
        settings = self._settings.store
        while True:
            try:
                # To its end: what has been opened must be closed.
                return await trio.to_thread.run_sync(_open, settings.url, settings.key_file, self._settings.node)
            except NameTakenError as error:
                self._note_problem(str(error))
                self.refusal = "" if self.settled.is_set() else str(error)
            except StoreError as error:
                self._note_problem(str(error))
                if self._mirror is None:
                    await self._go_on_with_last_known()
            self.settled.set()
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MOST_S)

    async def _go_on_with_last_known(self) -> None:
        """Run what was kept. A key that is missing is not made here: what is kept opens with no other."""
        try:
            vault = await trio.to_thread.run_sync(Vault.existing, self._settings.store.key_file)
        except StoreError:
            return
        self._last_known = LastKnown(self._settings.state_dir, vault)
        try:
            snapshot = await trio.to_thread.run_sync(self._last_known.read)
            self._outcomes = await self._controller_with(vault).carry_out(snapshot, self._host_problems)
        except Exception:  # whatever was kept, what the file declares is served
            logger.exception("what was kept of the store cannot be gone on with")

    def _controller_with(self, vault: Vault) -> Controller:
        if self._controller is None:
            self._controller = Controller(self._reconciler, self._fleet, vault, unix_time=self._unix_time)
        return self._controller

    def _note_problem(self, problem: str) -> None:
        """Log when the store goes and when it comes, and nothing in between."""
        if problem and self._problem in {"", _NOT_OPENED}:
            logger.error("the store cannot be used; what is known goes on", problem=problem)
        elif self._problem and not problem:
            logger.info("the store is in use")
        self._problem = problem


def _open(url: str, key_file: Path, node: str) -> tuple[Store, Lease]:
    store = open_store(url, key_file)
    try:
        return store, store.lease(node)
    except BaseException:
        store.close()
        raise


def _close(store: Store, lease: Lease) -> None:
    lease.close()
    store.close()


def _sentences(outcome: Outcome) -> list[str]:
    return [sentence for sentence in (outcome.problem, *outcome.failures.values(), *outcome.host.values()) if sentence]
