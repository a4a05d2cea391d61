"""Throughput, and what it costs the server: iperf3 through the tunnel, and floods of small packets.

A gigabyte is 10^9 octets of payload of TCP or UDP as iperf3 counts it, a megabit 10^6 bits.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.bench.rig import device_of
from tests.lab import OFFICE_HOST, LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.cost import Usage
    from tests.bench.rig import Figures, Rig
    from tests.bench.scenarios import Packets, Streams
    from tests.lab import Process

__all__ = [
    "TRAFFIC_PORT",
    "cost_of_octets",
    "cost_of_packets",
    "measure_packets",
    "measure_streams",
    "parse_report",
    "traffic_options",
]

GIGABYTE = 1e9
FIRST_PORT = 5201
TRAFFIC_PORT = 9000
UDP_HEADERS = 28
CONGESTION_CONTROL = "cubic"
"""The kernel's own default, whatever this host prefers: one that paces would measure its idea of the path."""
SETTLE_S = 0.5
"""From the last packet of a load to the last that the server has done for it."""


def measure_streams(rig: Rig, work: Streams) -> Figures:
    """iperf3 from every client at once, up and then down."""
    with rig.clients(work.peer, work.clients) as clients:
        return _transfer(rig, work, clients, "up") | _transfer(rig, work, clients, "down", "--reverse")


def _transfer(rig: Rig, work: Streams, clients: list[Process], direction: str, *options: str) -> Figures:
    with ExitStack() as stack:
        ports = range(FIRST_PORT, FIRST_PORT + len(clients))
        for port in ports:
            arguments = ["iperf3", "--server", "--one-off", "--forceflush", "--port", str(port)]
            listener = stack.enter_context(rig.lab.office.start(*arguments, log=rig.lab.log("listener")))
            listener.wait_for("Server listening")
        before, begun = rig.spent(), time.monotonic()
        senders = [
            stack.enter_context(_start_iperf(rig, work, number, port, device_of(client), *options))
            for number, (port, client) in enumerate(zip(ports, clients, strict=True))
        ]
        for sender in senders:
            sender.wait(within_s=rig.seconds + 60)
        spent, took = rig.spent().since(before), time.monotonic() - begun
        received = [parse_report(sender.text()) for sender in senders]
    figures = {"mbit_per_s": sum(each.mbit_per_s for each in received)}
    figures |= cost_of_octets(spent, sum(each.octets for each in received), took)
    if work.datagrams:
        figures["lost_percent"] = max(each.lost_percent for each in received)
    return {f"{direction}.{name}": figure for name, figure in figures.items()}


def _start_iperf(rig: Rig, work: Streams, number: int, port: int, device: str, *options: str) -> Process:
    kind = [f"--parallel={work.streams}", f"--congestion={CONGESTION_CONTROL}"]
    if work.datagrams:
        kind = ["--udp", f"--length={work.datagrams - UDP_HEADERS}", f"--bitrate={work.offered_mbit_per_s}M"]
    arguments = ["iperf3", "--client", OFFICE_HOST, "--port", str(port), "--bind-dev", device, "--json"]
    return rig.lab.clients[number].start(
        *arguments, "--time", f"{rig.seconds:g}", *kind, *options, log=rig.lab.log("iperf3")
    )


@dataclass(frozen=True, slots=True)
class Received:
    """What one iperf3 says that the receiving side got."""

    octets: float
    mbit_per_s: float
    lost_percent: float


def parse_report(text: str) -> Received:
    """iperf3's JSON, of TCP and UDP. Raises LabError with iperf3's own complaint."""
    report: dict[str, Any] = json.loads(text)
    if "error" in report:
        raise LabError(f"iperf3: {report['error']}")
    end = report["end"]
    if "lost_percent" not in end.get("sum", {}):
        return Received(end["sum_received"]["bytes"], end["sum_received"]["bits_per_second"] / 1e6, 0)
    total = end["sum"]  # of UDP: what was sent
    arrived = 1 - total["lost_percent"] / 100
    return Received(total["bytes"] * arrived, total["bits_per_second"] / 1e6 * arrived, total["lost_percent"])


def cost_of_octets(spent: Usage, octets: float, took_s: float) -> Figures:
    """CPU time for each gigabyte, and how many cores that kept busy."""
    gigabytes = octets / GIGABYTE
    return {
        "cpu_s_per_gb": spent.cpu_s / gigabytes,
        "user_s_per_gb": spent.user_s / gigabytes,
        "system_s_per_gb": spent.system_s / gigabytes,
        "cores": spent.cpu_s / took_s,
    }


def measure_packets(rig: Rig, work: Packets) -> Figures:
    """UDP packets from and to load clients, as fast as they go."""
    return _flood_up(rig, work) | _flood_down(rig, work)


def _flood_up(rig: Rig, work: Packets) -> Figures:
    with (
        rig.office("sink", "--port", TRAFFIC_PORT) as sink,
        rig.load("flood", "--clients", work.clients, *traffic_options(rig, work.sizes)) as flood,
    ):
        flood.ready()
        sink.begin()
        before = rig.spent()
        flood.begin()
        return _arrival(rig, "up", before, sink.result(), flood.result())


def _flood_down(rig: Rig, work: Packets) -> Figures:
    with rig.load("collect", "--clients", work.clients, *traffic_options(rig, work.sizes)) as collect:
        addresses = collect.ready()["addresses"]
        with rig.office("source", *traffic_options(rig, work.sizes), "--to", *addresses) as source:
            source.ready()
            collect.begin()
            time.sleep(SETTLE_S)  # each client says hello, so that what follows is let in as an answer
            before = rig.spent()
            source.begin()
            return _arrival(rig, "down", before, collect.result(), source.result())


def traffic_options(rig: Rig, sizes: Sequence[int]) -> list[object]:
    """What a load is told of the packets that it sends, of these sizes in turn."""
    return [
        *("--sizes", *sizes),
        *("--port", TRAFFIC_PORT),
        *("--seconds", rig.seconds),
        *("--to", OFFICE_HOST),
    ]


def _arrival(rig: Rig, direction: str, before: Usage, arrived: dict[str, Any], sent: dict[str, Any]) -> Figures:
    spent = rig.spent().since(before)
    if not arrived["packets"]:
        raise LabError(f"{direction}: no packet arrived; sent {sent}\n{rig.server.tail()}")
    figures = cost_of_packets(spent, arrived, sent)
    return {f"{direction}.{name}": figure for name, figure in figures.items()}


def cost_of_packets(spent: Usage, arrived: Mapping[str, float], sent: Mapping[str, float]) -> Figures:
    """Rates, and CPU time for each packet that arrived, from what both ends of a flood have counted."""
    packets = arrived["packets"]
    # What came in one batch came in no time: the sender's clock is as good then.
    seconds = arrived["seconds"] or sent["seconds"]
    return {
        "kpps": packets / seconds / 1e3,
        "mbit_per_s": arrived["octets"] * 8 / seconds / 1e6,
        "us_per_packet": spent.cpu_s / packets * 1e6,
        "user_us_per_packet": spent.user_s / packets * 1e6,
        "system_us_per_packet": spent.system_s / packets * 1e6,
        "cores": spent.cpu_s / sent["seconds"],
        "offered_kpps": sent["packets"] / sent["seconds"] / 1e3,
    }
