"""The endpoints of a daemon: put up, taken down, and kept up.

    start    sockets and TUN device ▶ host network ▶ clients        (a failure undoes what was done, in reverse)
    stop     clients told ▶ host network ▶ sockets and TUN device

What ought to run and does not is down, and is tried again until it runs or nobody wants it any more: an endpoint that
failed of itself, and one that a reload could not put up. The others do not notice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from gateway.endpoint import Endpoint
from gateway.endpoint_settings import Terms, plane_settings
from gateway.hostnet import Device, HostNetworkError
from policy import GatewaySpec
from tunnel import CloseReason, DataPlane, Transport, check_free

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.connection_log import ConnectionLog
    from gateway.hostnet import HostProblem
    from policy import EndpointChange, EndpointSpec, HostFacts
    from tunnel import PlaneSettings

__all__ = ["Fleet", "FleetError", "HostHold", "OpenPlane"]

RESTART_PAUSE_S = 1.0
"""Before an endpoint that is down is tried again; doubles up to `RESTART_PAUSE_MOST_S`."""
RESTART_PAUSE_MOST_S = 60.0


class FleetError(Exception):
    """An endpoint cannot be put up; the sentence says which and why."""


class PlaneDevice(Protocol):
    """What is known of a plane's TUN device."""

    name: str
    ifindex: int


class OpenPlane(DataPlane, Protocol):
    """A data plane whose sockets and device are open."""

    @property
    def device(self) -> PlaneDevice:
        """The TUN device, which the host network gives its addresses."""

    def close(self) -> None:
        """Close sockets and device, of a plane that does not run."""


class HostHold(Protocol):
    """What the fleet needs of `HostNetwork`."""

    async def add_endpoint(self, device: Device, spec: EndpointSpec) -> tuple[HostProblem, ...]:
        """Set up an endpoint."""

    async def update_endpoint(self, name: str, spec: EndpointSpec) -> tuple[HostProblem, ...]:
        """Bring an endpoint to a new spec."""

    async def remove_endpoint(self, name: str) -> None:
        """Take an endpoint off the host."""

    async def facts(self) -> HostFacts:
        """What validation needs to know."""


@dataclass(slots=True)
class _Running:
    endpoint: Endpoint
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    stopped: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True, eq=False)
class _Down:
    """An endpoint that ought to run."""

    terms: Terms
    problem: str
    """Why it does not."""


class Fleet:
    """All endpoints that run, or ought to."""

    def __init__(
        self,
        nursery: trio.Nursery,
        host: HostHold,
        open_plane: Callable[[PlaneSettings], OpenPlane],
        connection_log: ConnectionLog,
        *,
        node: str,
        refresh_s: float,
        check_free: Callable[[PlaneSettings], None] = check_free,
    ) -> None:
        """`check_free` raises the OSError that `open_plane` would raise for sockets."""
        self._nursery = nursery
        self._host = host
        self._open_plane = open_plane
        self._connection_log = connection_log
        self._node = node
        self._refresh_s = refresh_s
        self._check_free = check_free
        self.changing = trio.Lock()
        """Held by whoever changes what runs, for as long as that takes: a reload, a second try, the end."""
        self.is_closed = False
        """Everything was taken down, for good."""
        self._running: dict[str, _Running] = {}
        self._down: dict[str, _Down] = {}
        self._logger = structlog.get_logger("gateway")

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints that run, in the order in which they were put up."""
        return tuple(running.endpoint for running in self._running.values())

    @property
    def spec(self) -> GatewaySpec:
        """What runs, or will again."""
        down = (down.terms.spec for down in self._down.values())
        return GatewaySpec((*(endpoint.spec for endpoint in self.endpoints), *down))

    @property
    def down(self) -> Mapping[str, str]:
        """The endpoints that ought to run and do not, each with the sentence that says why."""
        return {name: down.problem for name, down in self._down.items()}

    def obstacle(self, spec: EndpointSpec) -> str:
        """Why nobody could listen where this spec wants it to, as far as that can be told without doing so; or nothing.

        A port that one of these endpoints has cannot be tried, and counts as free: it may be about to be.
        """
        settings = plane_settings(spec)
        own = [one.spec for one in self.endpoints if one.spec.vpn_port == spec.vpn_port]
        held = {Transport(name) for other in own for name in other.transport_protocol}
        try:
            self._check_free(replace(settings, transports=settings.transports - held))
        except OSError as error:
            return error.strerror or str(error)
        return ""

    async def start(self, all_terms: Sequence[Terms]) -> None:
        """Put up endpoints, all or none of them: first everybody's sockets, then the host. Raises `FleetError`."""
        planes: list[tuple[Terms, OpenPlane]] = []
        try:
            for terms in all_terms:
                planes.append((terms, self._open(terms)))  # noqa: PERF401 - those that are open must be known
            while planes:
                await self._start(*planes[0])
                planes.pop(0)
        except BaseException:
            for _, plane in planes:
                plane.close()
            with trio.CancelScope(shield=True):
                for terms in all_terms:
                    await self.stop(terms.spec.name, CloseReason.SHUTDOWN)
            raise

    async def put_up(self, terms: Terms) -> None:
        """Put up an endpoint; where that fails it is down, and tried again. Raises `FleetError` then, too."""
        try:
            await self.start([terms])
        except FleetError as error:
            self.keep_trying(terms, str(error))
            raise

    def keep_trying(self, terms: Terms, problem: str) -> None:
        """Note that an endpoint is down, and try to put it up until that works."""
        down = self._down[terms.spec.name] = _Down(terms, problem)
        self._nursery.start_soon(self._put_up_again, down)

    async def try_again(self, name: str) -> None:
        """Try now to put up an endpoint that is down; nothing happens where it is not. Raises `FleetError`."""
        down = self._down.pop(name, None)
        if down is None:
            return
        try:
            await self.start([down.terms])
        except FleetError as error:
            down.problem = str(error)
            self._down[name] = down
            raise

    async def stop(self, name: str, reason: CloseReason) -> None:
        """Take an endpoint down, its clients told, for good; nothing happens where it does not run."""
        self._down.pop(name, None)
        running = self._running.pop(name, None)
        if running is None:
            return
        await running.endpoint.drain(reason, "the gateway restarts")
        await self._take_off_host(name)
        running.scope.cancel()
        await running.stopped.wait()
        self._logger.info("endpoint stopped", endpoint=name)

    async def stop_all(self) -> None:
        """Take everything down, for good, once whatever is being changed is done."""
        async with self.changing, trio.open_nursery() as nursery:
            self.is_closed = True
            self._down.clear()
            for name in tuple(self._running):
                nursery.start_soon(self.stop, name, CloseReason.SHUTDOWN)

    async def adopt(self, change: EndpointChange, terms: Terms) -> None:
        """Apply a change that needs no restart. Raises `FleetError` where the host does not take its part."""
        running = self._running.get(change.new.name)
        if running is None:
            self._down[change.new.name].terms = terms
            return
        await running.endpoint.adopt(change, terms)
        if change.host_changed and self._running.get(change.new.name) is running:
            try:
                self._report(await self._host.update_endpoint(change.old.name, change.new))
            except HostNetworkError as error:
                raise FleetError(f"endpoint {change.new.name}: {error}") from error

    def _open(self, terms: Terms) -> OpenPlane:
        try:
            return self._open_plane(plane_settings(terms.spec))
        except OSError as error:
            raise FleetError(f"endpoint {terms.spec.name}: {error.strerror or error}") from error

    async def _start(self, terms: Terms, plane: OpenPlane) -> None:
        name = terms.spec.name
        try:
            await self._launch(terms, plane)
        except HostNetworkError as error:
            raise FleetError(f"endpoint {name}: {error}") from error
        except Exception as error:
            self._logger.exception("endpoint cannot be started", endpoint=name)
            raise FleetError(f"endpoint {name}: a fault in the gateway; its log says which") from error

    async def _launch(self, terms: Terms, plane: OpenPlane) -> None:
        """Give the endpoint its place on the host, and run it: from the one to the other nothing may fail."""
        name = terms.spec.name
        running = _Running(Endpoint(terms, plane, self._connection_log, node=self._node, refresh_s=self._refresh_s))
        problems = await self._host.add_endpoint(Device(plane.device.name, plane.device.ifindex), terms.spec)
        self._running[name] = running
        await self._nursery.start(self._run, running)
        self._report(problems)
        self._logger.info("endpoint started", endpoint=name, device=plane.device.name)

    async def _run(self, running: _Running, *, task_status: trio.TaskStatus[None]) -> None:
        """Run an endpoint until it is stopped; put it up again if it fails."""
        name = running.endpoint.spec.name
        failed = False
        try:
            with running.scope:
                await running.endpoint.run(task_status=task_status)
        except Exception:
            self._logger.exception("endpoint failed", endpoint=name)
            failed = True
        finally:
            running.stopped.set()
        if failed and self._running.get(name) is running:
            del self._running[name]
            running.endpoint.end_all(CloseReason.INTERNAL_ERROR, "the endpoint failed and is put up again")
            down = self._down[name] = _Down(running.endpoint.terms, f"endpoint {name}: it failed; the log says how")
            await self._take_off_host(name)
            self._nursery.start_soon(self._put_up_again, down)

    async def _put_up_again(self, down: _Down) -> None:
        """Try until it works, or until a change of the configuration has taken the endpoint away."""
        name, pause_s = down.terms.spec.name, RESTART_PAUSE_S
        while self._down.get(name) is down:
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, RESTART_PAUSE_MOST_S)
            async with self.changing:
                if self._down.get(name) is down:
                    await self._try_again_or_complain(name)

    async def _try_again_or_complain(self, name: str) -> None:
        try:
            await self.try_again(name)
        except FleetError as error:
            self._logger.error("endpoint cannot be put up again", endpoint=name, error=str(error))  # noqa: TRY400 - its sentence is enough

    async def _take_off_host(self, name: str) -> None:
        try:
            await self._host.remove_endpoint(name)
        except HostNetworkError as error:
            self._logger.error("the host's network could not be restored", endpoint=name, error=str(error))  # noqa: TRY400 - its sentence is enough

    def _report(self, problems: tuple[HostProblem, ...]) -> None:
        for problem in problems:
            self._logger.warning(
                "target network does not work yet",
                endpoint=problem.endpoint,
                target_network=problem.target_network,
                problem=problem.text,
            )
