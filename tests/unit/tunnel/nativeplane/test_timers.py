"""The clock of a worker, where it can be looked at turn by turn."""

from __future__ import annotations

from pathlib import Path

from tests.unit.tunnel.nativeplane.library import ALL_SOURCES, program
from tests.unit.tunnel.nativeplane.test_whole_plane import run

DRIVER = str(Path(__file__).parents[3] / "native" / "ticking.c")


def test_a_tick_over_many_peers_lets_packets_have_their_turn() -> None:
    run(str(program(DRIVER, *ALL_SOURCES)))
