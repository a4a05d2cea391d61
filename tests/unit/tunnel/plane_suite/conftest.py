"""The planes that the suite runs against, each as a function that opens one on a stand-in device."""

from __future__ import annotations

import errno
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.tunnel.plane_suite.rig import Rig, settings, socket_device
from tunnel.pyplane import PythonDataPlane
from tunnel.tun import TunDevice

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable

    import trio

    from tunnel.nativeplane import NativeDataPlane
    from tunnel.plane_settings import PlaneSettings

    OpenPlane = PythonDataPlane | NativeDataPlane


def plane_class(name: str) -> type[OpenPlane]:
    if name == "python":
        return PythonDataPlane
    from tunnel.nativeplane import NativeDataPlane

    return NativeDataPlane


def open_plane(name: str, chosen: PlaneSettings, device: socket.socket) -> OpenPlane:
    return open_on(name, chosen, lambda name, **_: TunDevice(name, 0, device))


def open_on(name: str, chosen: PlaneSettings, open_device: Callable[..., TunDevice]) -> OpenPlane:
    while True:
        try:
            return plane_class(name).open(chosen, open_device=open_device)
        except OSError as error:
            # The kernel chose a port that is free for UDP and taken for TCP.
            if chosen.port or error.errno != errno.EADDRINUSE:
                raise


PLANES = [
    pytest.param(("python", 1), id="python"),
    pytest.param(("native", 1), id="native", marks=pytest.mark.native),
    pytest.param(("native", 3), id="native-3-workers", marks=pytest.mark.native),
]


@pytest.fixture(params=PLANES)
async def start(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Callable[..., Awaitable[Rig]]]:
    """Starts a plane with changed settings; it stops with the test."""
    name, workers = request.param
    with ExitStack() as rigs:

        async def start_one(**overrides: Any) -> Rig:
            plane_end, far_end = socket_device()
            plane = open_plane(name, settings(workers=workers, **overrides), plane_end)
            rig = Rig(plane, plane.port, far_end)
            rigs.callback(rig.close)
            await nursery.start(rig.run)
            return rig

        yield start_one
        nursery.cancel_scope.cancel()


@pytest.fixture
async def rig(start: Callable[..., Awaitable[Rig]]) -> Rig:
    """A plane with the usual settings."""
    return await start()
