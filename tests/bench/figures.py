"""What the measured figures mean to a person: label, unit, how many decimals mean anything. And their medians."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.rig import Figures

__all__ = ["Measure", "Medians", "Results", "label_of", "medians", "shown"]

Results = dict[str, dict[str, list["Figures"]]]
"""Scenario, server, and the figures of each run."""
Medians = dict[str, dict[str, "Figures"]]
"""Scenario, server, and the median of each figure."""


@dataclass(frozen=True, slots=True)
class Measure:
    """How one figure is written."""

    label: str
    unit: str
    decimals: int


DIRECTED = {
    "mbit_per_s": Measure("throughput", "Mbit/s", 0),
    "kpps": Measure("packets", "k/s", 0),
    "offered_kpps": Measure("packets offered", "k/s", 0),
    "lost_percent": Measure("lost", "%", 2),
    "cpu_s_per_gb": Measure("server CPU", "s/GB", 2),
    "user_s_per_gb": Measure("server CPU, user", "s/GB", 2),
    "system_s_per_gb": Measure("server CPU, system", "s/GB", 2),
    "us_per_packet": Measure("server CPU", "µs/packet", 2),
    "user_us_per_packet": Measure("server CPU, user", "µs/packet", 2),
    "system_us_per_packet": Measure("server CPU, system", "µs/packet", 2),
    "cores": Measure("server busy", "cores", 2),
}
"""Figures that there are once for each direction: `up.kpps` and `down.kpps`."""
DIRECTIONS = ("up", "down")
"""From the client to the network, and from the network to the client."""
READ = {
    "server_p50_ms": Measure("request to reply, median", "ms", 1),
    "server_p99_ms": Measure("request to reply, 99th percentile", "ms", 1),
    "call_p50_ms": Measure("with the SDK's own work, median", "ms", 1),
    "call_p99_ms": Measure("with the SDK's own work, 99th percentile", "ms", 1),
    "server_cpu_ms": Measure("server CPU", "ms", 1),
}
"""Figures that there are once for each thing that the API reads: `rules.server_p50_ms`."""
READS = ("endpoints", "rules", "connections")
PLAIN = {
    "idle.p50_ms": Measure("idle round trip, median", "ms", 3),
    "idle.p99_ms": Measure("idle round trip, 99th percentile", "ms", 3),
    "busy.p50_ms": Measure("busy round trip, median", "ms", 3),
    "busy.p99_ms": Measure("busy round trip, 99th percentile", "ms", 3),
    "busy.lost": Measure("busy: pings lost", "", 0),
    "busy.connects_per_s": Measure("busy: others that connected", "1/s", 0),
    "busy.connect_ms": Measure("busy: time that took them, median", "ms", 1),
    "cpu_ms": Measure("server CPU per connect", "ms", 2),
    "connects_per_s": Measure("connects", "1/s", 0),
    "connect_ms": Measure("time to connect, median", "ms", 1),
    "calm.connect_ms": Measure("in peace: time to connect, median", "ms", 1),
    "calm.longest_ms": Measure("in peace: time to connect, longest", "ms", 1),
    "flooded.connect_ms": Measure("flooded: time to connect, median", "ms", 1),
    "flooded.longest_ms": Measure("flooded: time to connect, longest", "ms", 1),
    "flooded.failed": Measure("flooded: could not connect", "", 0),
    "flooded.arrived_kpps": Measure("flooded: packets that arrived", "k/s", 0),
    "empty_mb": Measure("resident, hardly a client", "MB", 1),
    "pss_kb": Measure("memory per client (Pss)", "kB", 1),
    "rss_kb": Measure("memory per client (Rss)", "kB", 1),
    "clients": Measure("clients", "", 0),
    "sent": Measure("pings sent by all clients", "", 0),
    "lost": Measure("pings lost", "", 0),
    "p50_ms": Measure("round trip, median", "ms", 3),
    "p99_ms": Measure("round trip, 99th percentile", "ms", 3),
    "us_per_packet": Measure("server CPU per ping and answer", "µs", 1),
    "allowed.p50_ms": Measure("from the call until the last client passes, median", "ms", 0),
    "allowed.max_ms": Measure("from the call until the last client passes, longest", "ms", 0),
    "refused.p50_ms": Measure("from the call until no client passes, median", "ms", 0),
    "refused.max_ms": Measure("from the call until no client passes, longest", "ms", 0),
    "change_cpu_ms": Measure("daemon CPU per change", "ms", 1),
}


def label_of(name: str) -> Measure:
    """How a figure is written, by its full name."""
    about, _, rest = name.partition(".")
    families = {**dict.fromkeys(DIRECTIONS, DIRECTED), **dict.fromkeys(READS, READ)}
    if about not in families:
        return PLAIN[name]
    measure = families[about][rest]
    return Measure(f"{about}: {measure.label}", measure.unit, measure.decimals)


def shown(name: str, value: float) -> str:
    """A figure with as many decimals as mean anything."""
    return f"{value:,.{label_of(name).decimals}f}"


def medians(results: Mapping[str, Mapping[str, Sequence[Figures]]]) -> Medians:
    """The median of each figure over the runs of each server in each scenario."""
    return {
        scenario: {server: _median(runs) for server, runs in servers.items() if runs}
        for scenario, servers in results.items()
    }


def _median(runs: Sequence[Figures]) -> Figures:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}
