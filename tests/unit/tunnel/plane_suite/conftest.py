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

    from tunnel.plane_settings import PlaneSettings


def open_python_plane(chosen: PlaneSettings, device: socket.socket) -> tuple[PythonDataPlane, int]:
    while True:
        try:
            plane = PythonDataPlane.open(chosen, open_device=lambda name, **_: TunDevice(name, 0, device))
        except OSError as error:
            # The kernel chose a port that is free for UDP and taken for TCP.
            if chosen.port or error.errno != errno.EADDRINUSE:
                raise
        else:
            return plane, plane.port


PLANES = [pytest.param(open_python_plane, id="python")]


@pytest.fixture(params=PLANES)
async def start(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Callable[..., Awaitable[Rig]]]:
    """Starts a plane with changed settings; it stops with the test."""
    with ExitStack() as rigs:

        async def start_one(**overrides: Any) -> Rig:
            plane_end, far_end = socket_device()
            plane, port = request.param(settings(**overrides), plane_end)
            rig = Rig(plane, port, far_end)
            rigs.callback(rig.close)
            await nursery.start(rig.run)
            return rig

        yield start_one
        nursery.cancel_scope.cancel()


@pytest.fixture
async def rig(start: Callable[..., Awaitable[Rig]]) -> Rig:
    """A plane with the usual settings."""
    return await start()
