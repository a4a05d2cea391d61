"""One run of one scenario with one server, from an empty lab to figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.rig import Rig
from tests.bench.scenarios import Connects, Crowd, Latency, Packets, Streams
from tests.bench.servers import Material
from tests.bench.sessions import measure_connects, measure_crowd, measure_latency
from tests.bench.transfers import measure_packets, measure_streams
from tests.lab import Lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.rig import Figures
    from tests.bench.scenarios import Scenario, Work
    from tests.bench.servers import Server

__all__ = ["run_once"]


def run_once(server: Server, scenario: Scenario, directory: Path, library: Path, *, seconds: float) -> Figures:
    """Build a lab, start the server in it, measure, and take everything down."""
    material = Material.make(directory)
    with (
        Lab(directory, clients=_namespaces(scenario.work), machines_apart=True) as lab,
        server.start(lab, material, scenario.setting) as process,
    ):
        return _measure(Rig(lab, material, scenario.setting, process, library, seconds), scenario.work)


def _namespaces(work: Work) -> int:
    match work:
        case Streams(clients=count):
            return count
        case Latency():
            return 2
        case _:
            return 1


def _measure(rig: Rig, work: Work) -> Figures:
    match work:
        case Streams():
            return measure_streams(rig, work)
        case Packets():
            return measure_packets(rig, work)
        case Latency():
            return measure_latency(rig, work)
        case Connects():
            return measure_connects(rig, work)
        case Crowd():
            return measure_crowd(rig, work)
