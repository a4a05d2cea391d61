"""Portway beside OpenVPN's own server: `python -m tests.bench --help`.

Runs alternate, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import os
import sys
import tempfile
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tests.bench.measure import run_once
from tests.bench.report import as_json, machine, table
from tests.bench.servers import Material, OpenVpnServer, PortwayServer, Setting
from tests.lab import Lab, LabError

if TYPE_CHECKING:
    from tests.bench.measure import Figures
    from tests.bench.servers import Server


class Contestant(Enum):
    """A server that can be measured."""

    PORTWAY = "portway"
    OPENVPN = "openvpn"


class Transport(Enum):
    """What carries the tunnel."""

    UDP = "udp"
    TCP = "tcp"


SERVERS: dict[Contestant, Server] = {Contestant.PORTWAY: PortwayServer(), Contestant.OPENVPN: OpenVpnServer()}


def bench(
    *,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each server; the table shows medians.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each transfer.")] = 5,
    clients: Annotated[int, typer.Option(min=10, help="Clients that connect for CPU and memory per client.")] = 100,
    cipher: Annotated[str, typer.Option(help="Data cipher, by OpenVPN's name.")] = "AES-256-GCM",
    transport: Annotated[Transport, typer.Option(help="UDP or TCP.")] = Transport.UDP,
    only: Annotated[list[Contestant] | None, typer.Option(help="Measure only this server.")] = None,
    output: Annotated[Path, typer.Option(help="Directory for the JSON file.")] = Path("bench-results"),
) -> None:
    """Measure Portway and OpenVPN side by side: speed, CPU, latency, memory."""
    console = Console(stderr=True)
    setting = Setting(cipher, transport.value)
    begun = machine()
    contestants = only or list(SERVERS)
    results: dict[str, list[Figures]] = {contestant.value: [] for contestant in contestants}
    with tempfile.TemporaryDirectory(prefix="portway-bench-") as scratch:
        for number in range(runs):
            for contestant in contestants if number % 2 == 0 else reversed(contestants):
                console.print(f"run {number + 1} of {runs}: {contestant.value} …", style="dim")
                directory = Path(scratch) / f"{number}-{contestant.value}"
                results[contestant.value].append(_one_run(SERVERS[contestant], directory, setting, seconds, clients))
    Console().print(table(results, setting))
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{begun['time'].replace(':', '')}-{setting.transport}-{setting.cipher}.json"
    path.write_text(as_json(results, setting, begun, machine()))
    console.print(f"{begun['cpu']}, {begun['cores']} cores, load {begun['load_average'][0]:.1f} at the start")
    console.print(f"written to {path}")


def _one_run(server: Server, directory: Path, setting: Setting, seconds: float, clients: int) -> Figures:
    material = Material.make(directory)
    with Lab(directory) as lab:
        return run_once(server, lab, material, setting, seconds=seconds, clients=clients)


def main() -> None:
    if os.geteuid():
        sys.exit("The bench makes network namespaces, so it has to run as root.")
    try:
        typer.run(bench)
    except LabError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
