"""What is measured, one function each. All of it is seen from outside: /proc, ping and iperf3.

A gigabyte is 10^9 octets of TCP payload, a megabit 10^6 bits.
"""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tests.bench.servers import client_profile
from tests.lab import NULL_DEVICE, OFFICE_HOST, LabError, OpenVpnClient, usage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.servers import Material, Server, Setting
    from tests.lab import Lab

__all__ = ["Figures", "Transfer", "run_once"]

GIGABYTE = 1e9
PINGS = 100
WAVE = 10
"""Clients that connect at once: enough to keep the server busy, few enough that nobody has to retransmit."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One TCP stream through the tunnel, and what it cost the server."""

    mbit_per_s: float
    user_s_per_gb: float
    system_s_per_gb: float

    @property
    def cpu_s_per_gb(self) -> float:
        return self.user_s_per_gb + self.system_s_per_gb


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of one server."""

    up: Transfer
    down: Transfer
    ping_ms: float
    """Median round-trip time with nothing else going on."""
    handshake_ms: float
    """CPU of the server per connect."""
    resident_mb: float
    """Of the server with one client."""
    resident_mb_per_100_clients: float
    """What a hundred further clients add."""

    def flat(self) -> dict[str, float]:
        """Every figure under one name, such as `up.mbit_per_s`."""
        flat: dict[str, float] = {}
        for name, value in asdict(self).items():
            if isinstance(value, dict):
                flat |= {f"{name}.{inner}": figure for inner, figure in value.items()}
                flat[f"{name}.cpu_s_per_gb"] = value["user_s_per_gb"] + value["system_s_per_gb"]
            else:
                flat[name] = value
        return flat


def run_once(
    server: Server, lab: Lab, material: Material, setting: Setting, *, seconds: float, clients: int
) -> Figures:
    """Start a server, measure everything, and end it."""
    profile = client_profile(lab, material, setting)
    with server.start(lab, material, setting) as process:
        with OpenVpnClient(lab.client, profile, log=lab.log("client")) as client:
            client.wait_connected()
            ping_ms = _ping(client)
            up = _transfer(lab, process.pid, seconds)
            down = _transfer(lab, process.pid, seconds, "--reverse")
            resident = usage(process.pid).resident_bytes
        handshake_s, grown = _storm(lab, process.pid, profile, clients)
    return Figures(up, down, ping_ms, handshake_s * 1e3, resident / 1e6, grown / 1e6 * 100 / clients)


def _ping(client: OpenVpnClient) -> float:
    client.ping(OFFICE_HOST)
    said = client.namespace.run("ping", "-n", "-c", str(PINGS), "-i", "0.02", OFFICE_HOST).stdout
    return statistics.median(float(time) for time in re.findall(r"time=([\d.]+) ms", said))


def _transfer(lab: Lab, server_pid: int, seconds: float, *options: str) -> Transfer:
    with lab.office.start("iperf3", "--server", "--one-off", "--forceflush", log=lab.log("iperf3")) as listener:
        listener.wait_for("Server listening")
        before = usage(server_pid)
        command = ["iperf3", "--client", OFFICE_HOST, "--json", "--time", f"{seconds:g}", *options]
        said = lab.client.run(*command, check=False, timeout_s=seconds + 60)
        spent = usage(server_pid).since(before)
    report: dict[str, Any] = json.loads(said.stdout)
    if "error" in report:
        raise LabError(f"iperf3: {report['error']}")
    received = report["end"]["sum_received"]
    gigabytes = received["bytes"] / GIGABYTE
    return Transfer(received["bits_per_second"] / 1e6, spent.user_s / gigabytes, spent.system_s / gigabytes)


def _storm(lab: Lab, server_pid: int, profile: Path, count: int) -> tuple[float, int]:
    """CPU seconds per connect, and octets that all these clients together have added to the server."""
    before = usage(server_pid)
    clients: list[OpenVpnClient] = []
    try:
        for number in range(0, count, WAVE):
            logs = [lab.log(f"storm-{number + offset}") for offset in range(min(WAVE, count - number))]
            wave = [OpenVpnClient(lab.client, profile, *NULL_DEVICE, log=log) for log in logs]
            clients += wave
            for client in wave:
                client.wait_connected(within_s=60)
        spent = usage(server_pid).since(before)
    finally:
        for client in clients:
            client.kill()
    return spent.cpu_s / count, spent.resident_bytes
