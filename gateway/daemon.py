"""The daemon: what starts in which order, what runs beside what, and how it ends.

    lock ▶ validate ▶ sockets, TUN ▶ host network ▶ control socket ▶ store ▶ ready
    nursery
    ├── connection log            a task for each sink
    ├── endpoints                 the fleet's; each with its plane and its timers
    ├── control socket            status, connections, terminate, explain, reload
    ├── managed service           endpoints made at run time; brings to the store what happens here
    ├── host network watch        puts right what another hand has changed
    ├── housekeeping              renews the CRL, warns of certificates that end, collects garbage
    ├── watchdog                  tells systemd that this loop turns
    └── signals                   HUP reloads; TERM and INT end

A start that fails leaves nothing behind; an end leaves the host as it was found.
"""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import structlog
import trio

from gateway.connection_log import ConnectionLog
from gateway.control_requests import ControlRequests
from gateway.control_socket import ControlError, ControlServer
from gateway.expiry import Urgency, expiries
from gateway.fleet import Fleet, FleetError
from gateway.garbage import collect_everything, spare_the_long_lived
from gateway.hostnet import HostNetwork, HostNetworkError
from gateway.log_groups import open_log_groups
from gateway.managed import ManagedService
from gateway.pki import Authority, PkiError
from gateway.plane_watch import PlaneWatch
from gateway.planes import choose_plane
from gateway.reload import ConfigRefused, Reconciler, prepare
from gateway.state_lock import StateLock, daemon_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gateway.config import Config, GatewaySettings
    from gateway.hostnet import HostProblem
    from gateway.planes import PlaneChoice
    from gateway.service_manager import ServiceManager

__all__ = ["serve"]

RETRY_S = 5.0
"""Before a task of the daemon's own that failed is begun again."""
HOUSEKEEPING_S = 3600.0
LOG_DRAIN_S = 3.0
"""How long the last records may take to reach the store, and their sinks."""
STORE_PATIENCE_S = 10.0
"""How long a start waits for endpoints that the store asks for."""

logger = structlog.get_logger("gateway")


async def serve(path: Path, config: Config, service: ServiceManager) -> None:
    """Run the gateway by the configuration that `path` holds, until SIGTERM or SIGINT.

    Raises `PlaneUnavailable`, `StateLockError`, `ConfigRefused`, `HostNetworkError`, `FleetError` or `ControlError`,
    each with sentences for the administrator, where it cannot start; nothing is left behind then.
    """
    failure: Exception | None = None
    plane = choose_plane(config.settings.plane, config.settings.workers)
    with StateLock(config.settings.state_dir):
        async with trio.open_nursery() as nursery:
            daemon = _Daemon(path, config, plane, service, nursery)
            try:
                await daemon.start()
                await daemon.stop_asked.wait()
            except (ConfigRefused, ControlError, HostNetworkError, FleetError) as error:
                failure = error
            finally:
                with trio.CancelScope(shield=True):
                    await daemon.stop()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Daemon:
    """The parts, and the tasks that keep them going."""

    def __init__(
        self, path: Path, config: Config, plane: PlaneChoice, service: ServiceManager, nursery: trio.Nursery
    ) -> None:
        settings = config.settings
        self.stop_asked = trio.Event()
        self._config = config
        self._service = service
        self._nursery = nursery
        self._host = HostNetwork(daemon_id(settings.state_dir))
        self._connection_log = ConnectionLog(open_log_groups(settings), node=settings.node)
        self._plane = plane
        self._fleet = Fleet(
            nursery,
            self._host,
            self._plane.open,
            self._connection_log,
            node=settings.node,
            refresh_s=settings.log_refresh_s,
        )
        self._reconciler = Reconciler(path, config, self._fleet, self._host, self._adopt_settings)
        self._managed = ManagedService(path, self._reconciler, self._fleet, self._connection_log)
        self._is_ready = False
        self._started_at = datetime.now(UTC)
        self._last_reload: dict[str, Any] | None = None
        self._host_problems: tuple[HostProblem, ...] = ()

    async def start(self) -> None:
        """Bring everything up, in order; ready when this returns."""
        terms = await prepare(self._config, self._host)
        self._nursery.start_soon(self._keep_going, self._connection_log.run)
        self._nursery.start_soon(self._listen_to_signals)
        await self._host.open()
        await self._fleet.start(tuple(terms.values()))
        requests = ControlRequests(self._fleet, self._connection_log, self.reload, self._facts)
        await self._nursery.start(ControlServer(self._config.settings.control_socket, requests.handle).run)
        watch = PlaneWatch(lambda: self._fleet.endpoints)
        for task in (self._managed.run, self._watch_host, watch.run, self._keep_house, self._feed_watchdog):
            self._nursery.start_soon(self._keep_going, task)
        with trio.move_on_after(STORE_PATIENCE_S):
            await self._managed.settled.wait()
        if self._managed.refusal:
            raise ConfigRefused((self._managed.refusal,))
        spare_the_long_lived()
        self._is_ready = True
        self._service.ready(self._summary())
        if self._plane.reason:
            logger.warning("the native data plane cannot be had", reason=self._plane.reason)
        endpoints = [endpoint.spec.name for endpoint in self._fleet.endpoints]
        logger.info("gateway ready", endpoints=endpoints, plane=self._plane.name)

    async def stop(self) -> None:
        """Take everything down, in reverse."""
        self._service.stopping()
        if self._is_ready:
            logger.info("gateway stops")
        await self._fleet.stop_all()
        await self._managed.finish(LOG_DRAIN_S)
        try:
            await self._host.close()
        except HostNetworkError as error:
            logger.error("the host's network could not be restored", error=str(error))  # noqa: TRY400 - its sentence is enough
        await self._connection_log.drain(LOG_DRAIN_S)

    async def reload(self) -> tuple[str, ...]:
        """Read the configuration again and apply it; open the log anew. Raises `ConfigRefused` or `FleetError`."""
        self._service.reloading()
        self._connection_log.reopen()
        said: tuple[str, ...] = ()
        try:
            said = await self._reconciler.reload()
        except (ConfigRefused, FleetError) as error:
            self._note_reload("refused" if isinstance(error, ConfigRefused) else "incomplete", str(error).splitlines())
            raise
        else:
            self._note_reload("done", list(said))
        finally:
            self._managed.look_again()
            self._service.ready(self._summary())
        return said

    def _adopt_settings(self, settings: GatewaySettings) -> None:
        """Take over what can be changed while the daemon runs."""
        self._connection_log.adopt(open_log_groups(settings))

    def _note_reload(self, result: str, sentences: list[str]) -> None:
        self._last_reload = {"at": datetime.now(UTC).isoformat(), "result": result, "sentences": sentences}
        write = logger.info if result == "done" else logger.error
        write("configuration reloaded", result=result, sentences=sentences)

    # Tasks

    async def _keep_going(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task that has no end; one that fails is begun again, and takes nothing else with it."""
        while True:
            try:
                await task()
            except Exception:
                logger.exception("a task of the daemon failed", task=task.__name__)
            await trio.sleep(RETRY_S)

    async def _listen_to_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    self.stop_asked.set()
                    continue
                self._nursery.start_soon(self._reload_by_signal)

    async def _reload_by_signal(self) -> None:
        try:
            await self.reload()
        except (ConfigRefused, FleetError):
            return  # it is in the log, and in the status
        except Exception:
            logger.exception("the configuration could not be reloaded")

    async def _watch_host(self) -> None:
        await self._host.watch(self._note_host_problems, self._managed.note_host_change)

    def _note_host_problems(self, problems: tuple[HostProblem, ...]) -> None:
        self._host_problems = problems
        self._managed.note_host_problems(problems)
        for problem in problems:
            logger.warning(
                "host network problem",
                endpoint=problem.endpoint,
                target_network=problem.target_network,
                problem=problem.text,
            )

    async def _keep_house(self) -> None:
        while True:
            if await trio.to_thread.run_sync(self._renew_crl):
                await self._reload_by_signal()
            self._warn_of_expiries(datetime.now(UTC))
            collect_everything()
            await trio.sleep(HOUSEKEEPING_S)

    def _renew_crl(self) -> bool:
        """Renew the revocation list of `portway pki`, where that is at home here. Runs in a thread."""
        authority = Authority(self._config.settings.pki_dir)
        try:
            return authority.exists() and authority.renew_crl()
        except (PkiError, OSError) as error:
            logger.warning("the revocation list could not be renewed", error=str(error))
            return False

    def _warn_of_expiries(self, now: datetime) -> None:
        for endpoint in self._fleet.endpoints:
            for expiry in expiries(endpoint.spec):
                urgency = expiry.urgency(now)
                if urgency is not Urgency.NONE:
                    write = logger.error if urgency is Urgency.EXPIRED else logger.warning
                    write(
                        "certificate or list ends",
                        endpoint=expiry.endpoint,
                        what=expiry.what,
                        ends=expiry.ends.isoformat(),
                        urgency=urgency.value,
                    )

    async def _feed_watchdog(self) -> None:
        interval_s = self._service.watchdog_interval_s
        if interval_s is None:
            await trio.sleep_forever()
        while True:
            self._service.watchdog()
            await trio.sleep(interval_s)

    # What it says about itself

    def _summary(self) -> str:
        return f"Serving {', '.join(endpoint.spec.name for endpoint in self._fleet.endpoints) or 'no endpoint'}"

    def _facts(self) -> dict[str, Any]:
        return {
            "version": version("portway"),
            "node": self._config.settings.node,
            "process_id": os.getpid(),
            "started_at": self._started_at.isoformat(),
            "uptime_s": int((datetime.now(UTC) - self._started_at).total_seconds()),
            "plane": {"name": self._plane.name, "workers": self._plane.workers, "reason": self._plane.reason},
            "last_reload": self._last_reload,
            "host_problems": [str(problem.text) for problem in self._host_problems],
            "host_drops": self._host.drops,
            "closed": list(self._host.closed),
            "managed": self._managed.status(),
        }
