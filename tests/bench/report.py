"""What the bench says: medians as a table for a person, everything as JSON for a program."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tests.lab import openvpn_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.measure import Figures
    from tests.bench.servers import Setting

__all__ = ["ROWS", "as_json", "machine", "table"]

ROWS = {
    "up.mbit_per_s": ("throughput up", "Mbit/s", 0),
    "down.mbit_per_s": ("throughput down", "Mbit/s", 0),
    "up.cpu_s_per_gb": ("server CPU up", "s/GB", 2),
    "up.user_s_per_gb": ("  user", "s/GB", 2),
    "up.system_s_per_gb": ("  system", "s/GB", 2),
    "down.cpu_s_per_gb": ("server CPU down", "s/GB", 2),
    "down.user_s_per_gb": ("  user", "s/GB", 2),
    "down.system_s_per_gb": ("  system", "s/GB", 2),
    "ping_ms": ("round trip, idle", "ms", 2),
    "handshake_ms": ("server CPU per connect", "ms", 2),
    "resident_mb": ("resident, one client", "MB", 1),
    "resident_mb_per_100_clients": ("added by 100 clients", "MB", 1),
}
"""Figure, what a person calls it, its unit, and how many decimals mean anything."""


def medians(runs: Sequence[Figures]) -> dict[str, float]:
    """The median of each figure over the runs of one server."""
    flat = [run.flat() for run in runs]
    return {name: statistics.median(run[name] for run in flat) for name in flat[0]}


def table(results: Mapping[str, Sequence[Figures]], setting: Setting) -> Table:
    """One row per figure, one column per server, and the first in proportion to the last."""
    columns = {name: medians(runs) for name, runs in results.items()}
    count = min(len(runs) for runs in results.values())
    made = Table(title=f"{setting.cipher} over {setting.transport}, median of {count}", title_justify="left")
    made.add_column("")
    for name in columns:
        made.add_column(name, justify="right")
    made.add_column("unit")
    if len(columns) > 1:
        made.add_column("ratio", justify="right")
    for key, (label, unit, decimals) in ROWS.items():
        values = [column[key] for column in columns.values()]
        ratio = [f"{values[0] / values[-1]:.2f}" if values[-1] else "-"] if len(values) > 1 else []
        made.add_row(label, *(f"{value:,.{decimals}f}" for value in values), unit, *ratio)
    return made


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cryptography": metadata.version("cryptography"),
        "portway": _portway_version(),
        "openvpn": openvpn_version(),
        "load_average": os.getloadavg(),
    }


def _portway_version() -> str:
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    try:
        return f"{metadata.version('portway')} ({revision or 'no git'})"
    except metadata.PackageNotFoundError:
        return revision


def as_json(
    results: Mapping[str, Sequence[Figures]], setting: Setting, begun: Mapping[str, Any], ended: Mapping[str, Any]
) -> str:
    """Machine before and after, setting, medians and every single run."""
    document = {
        "setting": asdict(setting),
        "machine": begun,
        "load_average_at_the_end": ended["load_average"],
        "medians": {name: medians(runs) for name, runs in results.items()},
        "runs": {name: [run.flat() for run in runs] for name, runs in results.items()},
    }
    return json.dumps(document, indent=2) + "\n"
