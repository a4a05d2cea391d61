"""A fleet on a host that only remembers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

import trio

from gateway.fleet import Fleet
from gateway.hostnet import Device, HostNetworkError, HostProblem
from policy import HostFacts, HostInterface
from tests.unit.gateway.world import FakePlane, RecordingLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from policy import EndpointSpec
    from tunnel.plane import PlaneEvents
    from tunnel.plane_settings import PlaneSettings


@dataclass
class FakeDevice:
    name: str
    ifindex: int


class OpenFakePlane(FakePlane):
    """A plane that is open until it is closed, or has run; `break_down` makes it fail."""

    def __init__(self, settings: PlaneSettings, number: int, book: list[str]) -> None:
        super().__init__()
        self.settings = settings
        self.device = FakeDevice(f"portway{number}", number)
        self.is_open = True
        self._book = book
        self._broken = trio.Event()

    def close(self) -> None:
        self.is_open = False
        self._book.append(f"close {self.settings.port}")

    def break_down(self) -> None:
        self._broken.set()

    async def run(self, events: PlaneEvents, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        del events
        task_status.started()
        try:
            await self._broken.wait()
            raise ZeroDivisionError("a bug in the plane")
        finally:
            self.close()


class FakeHost:
    """Remembers what was done to it; refuses the endpoints in `refused`."""

    def __init__(self, book: list[str]) -> None:
        self.book = book
        self.refused: set[str] = set()
        self.pause_s = 0.0
        """How long it takes to add an endpoint."""
        self.asked_to_add = trio.Event()

    async def add_endpoint(self, device: Device, spec: EndpointSpec) -> tuple[HostProblem, ...]:
        del device
        self.asked_to_add.set()
        await trio.sleep(self.pause_s)
        if spec.name in self.refused:
            raise HostNetworkError("nft is missing")
        self.book.append(f"add {spec.name}")
        return ()

    async def update_endpoint(self, name: str, spec: EndpointSpec) -> tuple[HostProblem, ...]:
        del spec
        if name in self.refused:
            raise HostNetworkError("nft is missing")
        self.book.append(f"update {name}")
        return (HostProblem(name, "office", "eth1 is not there"),)

    async def remove_endpoint(self, name: str) -> None:
        self.book.append(f"remove {name}")

    async def facts(self) -> HostFacts:
        names = ("eth1", "eth2")
        addresses = (IPv4Interface("10.20.0.1/24"), IPv4Interface("10.30.0.1/24"))
        return HostFacts(tuple(HostInterface(name, (address,)) for name, address in zip(names, addresses, strict=True)))


class FleetWorld:
    """A fleet, with a book of what was done in which order."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.book: list[str] = []
        self.taken_ports: set[int] = set()
        self.lost_ports: set[int] = set()
        """Those that are taken at the very moment when they are opened."""
        self.planes: list[OpenFakePlane] = []
        self.host = FakeHost(self.book)
        self.log = RecordingLog()
        self.fleet = Fleet(
            nursery, self.host, self.open_plane, self.log, node="gw1", refresh_s=60, check_free=self.check_free
        )

    def open_plane(self, settings: PlaneSettings) -> OpenFakePlane:
        if settings.port in self.taken_ports | self.lost_ports:
            raise OSError(98, f"port {settings.port} is taken")
        self.book.append(f"open {settings.port}")
        self.planes.append(OpenFakePlane(settings, len(self.planes), self.book))
        return self.planes[-1]

    def check_free(self, settings: PlaneSettings) -> None:
        if settings.port in self.taken_ports and settings.transports:
            raise OSError(98, f"port {settings.port} is taken")

    @property
    def running(self) -> list[str]:
        return [endpoint.spec.name for endpoint in self.fleet.endpoints]


@asynccontextmanager
async def fleet_world() -> AsyncIterator[FleetWorld]:
    async with trio.open_nursery() as nursery:
        yield FleetWorld(nursery)
        nursery.cancel_scope.cancel()
