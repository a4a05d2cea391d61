"""`HostNetwork`: the daemon's hold on the host's network, for the trio side of the gateway.

Owns which endpoints there are and that one thing at a time is done to the host. The work itself blocks for
milliseconds and runs in a worker thread, where it is never abandoned halfway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from gateway.hostnet.errors import HostNetworkError
from gateway.hostnet.facts import read_host_facts
from gateway.hostnet.monitor import ChangeMonitor
from gateway.hostnet.nft import Nft
from gateway.hostnet.reconciler import Endpoint, Reconciler
from gateway.hostnet.records import Device, HostProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from policy import EndpointSpec, HostFacts

__all__ = ["HostNetwork"]

T = TypeVar("T")

ROUND_S = 10.0
"""How long a change that the kernel did not tell of may go unnoticed."""
SETTLE_S = 1.0
"""Changes come in bursts (an interface with its addresses and routes): one round for all."""


class HostNetwork:
    """What the daemon does to the host: addresses, routes, rules, forwarding and the firewall of its endpoints.

    `open`, then add endpoints as their TUN devices come up; `watch` runs beside them; `close` leaves the host as
    it was found. All methods raise `HostNetworkError` with a sentence for the administrator.
    """

    def __init__(self, daemon_id: str, nft: Nft | None = None) -> None:
        """`daemon_id` tells daemons on one host apart: see `gateway.state_lock.daemon_id`."""
        self._daemon_id = daemon_id
        self._reconciler = Reconciler(nft or Nft(), daemon_id)
        self._endpoints: dict[str, Endpoint] = {}
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def open(self) -> None:
        """Clean up after daemons that were killed. Fails where nftables or the privilege is missing."""
        await self._in_thread(self._reconciler.remove_leftovers)

    async def add_endpoint(self, device: Device, spec: EndpointSpec) -> tuple[HostProblem, ...]:
        """Set up an endpoint whose TUN device was just made.

        Returns what is wrong with single target networks; they come up by themselves later. Where the endpoint as a
        whole cannot be set up, what was done for it is undone, and `HostNetworkError` is raised.
        """
        return await self._in_thread(lambda: self._add(Endpoint(device, spec)))

    async def update_endpoint(self, name: str, spec: EndpointSpec) -> tuple[HostProblem, ...]:
        """Bring an endpoint to a new spec, without disturbing what the change does not concern."""
        return await self._in_thread(lambda: self._update(name, spec))

    async def remove_endpoint(self, name: str) -> None:
        """Take an endpoint off the host; its TUN device is set down, and to be closed after that."""
        with trio.CancelScope(shield=True):
            await self._in_thread(lambda: self._remove([name]))

    async def reconcile(self) -> tuple[HostProblem, ...]:
        """Put right what another hand has changed; returns what is wrong now, for all endpoints."""
        return await self._in_thread(self._reconcile)

    async def watch(self, report: Callable[[tuple[HostProblem, ...]], None], notice: Callable[[], None]) -> None:
        """Reconcile whenever the kernel tells of a change, and every ten seconds, until cancelled.

        `report` is called with all problems there are, each time that they are others than before, and `notice`
        after every change that the kernel told of.
        """
        known: tuple[HostProblem, ...] = ()
        with ChangeMonitor() as monitor:
            while True:
                monitor.discard()
                problems = await self._reconcile_or_complain()
                if problems != known:
                    report(problems)
                    known = problems
                with trio.move_on_after(ROUND_S) as waiting:
                    await monitor.wait()
                await trio.sleep(SETTLE_S)
                if not waiting.cancelled_caught:
                    notice()

    async def close(self) -> None:
        """Leave the host as it was found."""
        with trio.CancelScope(shield=True):
            await self._in_thread(lambda: self._remove(list(self._endpoints)))

    @property
    def drops(self) -> dict[str, int]:
        """Packets that the host has dropped for the endpoints, by cause, up to the last round."""
        return dict(self._reconciler.drops)

    @property
    def closed(self) -> tuple[str, ...]:
        """The endpoints that nothing passes through, since the rules that they need cannot be written."""
        return tuple(sorted(self._reconciler.closed))

    async def facts(self) -> HostFacts:
        """What validation needs to know about the host, now."""
        return await self._in_thread(lambda: read_host_facts(self._daemon_id))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async with self._one_at_a_time:
            return await trio.to_thread.run_sync(work)

    async def _reconcile_or_complain(self) -> tuple[HostProblem, ...]:
        try:
            return await self.reconcile()
        except HostNetworkError as error:
            return (HostProblem(None, None, str(error)),)

    # In the worker thread

    def _reconcile(self) -> tuple[HostProblem, ...]:
        return self._reconciler.reconcile(tuple(self._endpoints.values()))

    def _add(self, endpoint: Endpoint) -> tuple[HostProblem, ...]:
        name = endpoint.spec.name
        self._endpoints[name] = endpoint
        try:
            return self._only_minor(name, self._reconcile())
        except Exception:
            self._remove([name])
            raise

    def _update(self, name: str, spec: EndpointSpec) -> tuple[HostProblem, ...]:
        device = self._endpoints.pop(name).device
        self._endpoints[spec.name] = Endpoint(device, spec)
        return self._only_minor(spec.name, self._reconcile())

    def _remove(self, names: list[str]) -> None:
        removed = [self._endpoints.pop(name) for name in names if name in self._endpoints]
        try:
            self._reconciler.remove(endpoint.device for endpoint in removed)
        finally:
            self._reconcile()

    @staticmethod
    def _only_minor(name: str, problems: tuple[HostProblem, ...]) -> tuple[HostProblem, ...]:
        own = tuple(problem for problem in problems if problem.endpoint == name)
        for problem in own:
            if problem.target_network is None:
                raise HostNetworkError(problem.text)
        return own
