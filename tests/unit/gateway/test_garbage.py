from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from gateway.garbage import collect_everything, spare_the_long_lived
from tests.unit.gateway.world import World, pki

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Give the collector back as it was found."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.set_debug(0)
    gc.garbage.clear()
    gc.unfreeze()
    gc.enable()


class Cycle:
    """Refers to itself."""

    alive = 0

    def __init__(self) -> None:
        self.itself = self
        Cycle.alive += 1

    def __del__(self) -> None:
        Cycle.alive -= 1


def test_what_has_lasted_is_left_alone_until_everything_is_collected() -> None:
    spare_the_long_lived()
    cycle: Cycle | None = Cycle()
    for _ in range(3):
        gc.collect(1)  # it is of the oldest generation now
    del cycle
    kept = [[] for _ in range(200_000)]  # type: ignore[var-annotated]  # enough for many collections
    assert Cycle.alive == 1
    collect_everything()
    assert Cycle.alive == 0
    assert len(kept) == 200_000


def live_and_leave(world: World) -> None:
    """Everything that usually becomes of clients."""
    leaving, renegotiating, silent = world.connect(), world.connect(), world.connect(stream=1)
    world.connect(pki().tls(pki().read("server.crt"), pki().read("server.key")))
    renegotiating.connection.renegotiate(world.now)
    world.settle()
    leaving.connection.exit(world.now)
    world.settle()
    silent.silent = True
    world.endpoint.stream_closed(silent.path)
    renegotiating.connection.exit(world.now)
    world.settle()
    world.advance(10)
    assert len(world.endpoint.sessions) == 0
    world.clients.clear()


def test_sessions_that_end_leave_nothing_to_the_collector() -> None:
    world = World()
    live_and_leave(world)  # whatever is made once for all is made now
    gc.collect()
    gc.disable()
    live_and_leave(world)
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    left = Counter(type(thing).__qualname__ for thing in gc.garbage)
    assert not left.keys() & {"Session", "ServerConnection", "KeySession", "TlsSession", "Connection", "Lease", "Peer"}
    assert left.total() < 100
