"""Many clients, and time: round trips beside other clients' handshakes, what a connect costs, and crowds."""

from __future__ import annotations

import re
import statistics
import time
from typing import TYPE_CHECKING

from tests.bench.rig import device_of
from tests.bench.scenarios import Peer
from tests.bench.transfers import TRAFFIC_PORT, traffic_options
from tests.lab import OFFICE_HOST, LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.rig import Figures, Rig
    from tests.bench.scenarios import Connects, Crowd, Flooded, Latency
    from tests.lab import Process

__all__ = ["measure_connects", "measure_crowd", "measure_flooded", "measure_latency", "percentile", "round_trips_ms"]

SETTLE_S = 1.0


def measure_latency(rig: Rig, work: Latency) -> Figures:
    """Pings of a stock client in the first namespace; the others connect from the second."""
    length_s = work.pings * work.interval_s
    with rig.clients(Peer.STOCK) as (client,):
        idle = _ping(rig, client, work)
        crowd = ["--clients", int(work.connects_per_s * length_s), "--rate", work.connects_per_s]
        with rig.load("hold", *crowd, number=2) as storm:
            storm.begin()
            busy = _ping(rig, client, work)
            reached = storm.result()
    return {
        "idle.p50_ms": percentile(idle, 50),
        "idle.p99_ms": percentile(idle, 99),
        "busy.p50_ms": percentile(busy, 50),
        "busy.p99_ms": percentile(busy, 99),
        "busy.lost": work.pings - len(busy),
        "busy.connects_per_s": reached["clients"] / reached["seconds"],
        "busy.connect_ms": reached["took_ms"],
    }


def _ping(rig: Rig, client: Process, work: Latency) -> list[float]:
    command = ["ping", "-n", "-I", device_of(client), "-c", str(work.pings), "-i", str(work.interval_s), OFFICE_HOST]
    return round_trips_ms(rig.lab.client.run(*command, check=False).stdout)


def round_trips_ms(said: str) -> list[float]:
    """The times that ping prints."""
    return [float(found) for found in re.findall(r"time=([\d.]+) ms", said)]


def percentile(values: Sequence[float], percent: int) -> float:
    """Linear between the two values beside it. Raises LabError where there are too few to say."""
    if len(values) < 2:
        raise LabError("hardly a ping came back")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def measure_connects(rig: Rig, work: Connects) -> Figures:
    """A first few clients, then as many more: what each of those has cost."""
    with rig.load("hold", "--clients", work.settle) as first:
        first.begin()
        first.result()
        time.sleep(SETTLE_S)
        before = rig.spent()
        with rig.load("hold", "--clients", work.clients) as crowd:
            crowd.begin()
            reached = crowd.result()
            time.sleep(SETTLE_S)
            spent = rig.spent().since(before)
    return {
        "cpu_ms": spent.cpu_s / work.clients * 1e3,
        "connects_per_s": work.clients / reached["seconds"],
        "connect_ms": reached["took_ms"],
        "empty_mb": before.resident / 1e6,
        "pss_kb": spent.proportional / work.clients / 1e3,
        "rss_kb": spent.resident / work.clients / 1e3,
    }


def measure_flooded(rig: Rig, work: Flooded) -> Figures:
    """The flood comes from the first namespace; who connects, from the second, is its equal: it is what is measured."""
    crowd = ["--clients", int(work.connects_per_s * rig.seconds), "--rate", work.connects_per_s]
    with rig.load("hold", *crowd, number=2, nice=0) as first:
        first.begin()
        calm = first.result()
    with (
        rig.office("sink", "--port", TRAFFIC_PORT) as sink,
        rig.load("flood", *traffic_options(rig, work.sizes)) as flood,
        rig.load("hold", *crowd, "--some-may-fail", number=2, nice=0) as second,
    ):
        flood.ready()
        second.ready()
        sink.begin()
        flood.begin()
        second.begin()
        flooded, arrived = second.result(), sink.result()
    return {
        "calm.connect_ms": calm["took_ms"],
        "calm.longest_ms": calm["longest_ms"],
        "flooded.connect_ms": flooded["took_ms"],
        "flooded.longest_ms": flooded["longest_ms"],
        "flooded.failed": flooded["failed"],
        "flooded.arrived_kpps": arrived["packets"] / arrived["seconds"] / 1e3,
    }


def measure_crowd(rig: Rig, work: Crowd) -> Figures:
    """Everybody connects, then everybody pings in turn."""
    before = rig.spent()
    options = [
        "--clients",
        work.clients,
        "--rounds",
        work.rounds,
        "--echo-rate",
        work.echoes_per_s,
        "--to",
        OFFICE_HOST,
    ]
    with rig.load("echo", *options) as echo:
        reached = echo.ready()
        connected = rig.spent()
        echo.begin()
        answered = echo.result()
        spent, grown = rig.spent().since(connected), connected.since(before)
    return {
        "clients": reached["clients"],
        "connects_per_s": reached["clients"] / reached["seconds"],
        "cpu_ms": grown.cpu_s / work.clients * 1e3,
        "pss_kb": grown.proportional / work.clients / 1e3,
        "rss_kb": grown.resident / work.clients / 1e3,
        "sent": answered["sent"],
        "lost": answered["sent"] - answered["packets"],
        "p50_ms": answered["p50_ms"],
        "p99_ms": answered["p99_ms"],
        "us_per_packet": spent.cpu_s / answered["sent"] * 1e6,
    }
