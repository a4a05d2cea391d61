"""The cost of each step of a packet's way: `python -m tests.bench.steps`, as root.

Medians of several runs, in CPU time of the thread that does it. Not beside OpenVPN, which has no such parts to measure.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

CORE = Path(__file__).parents[3] / "tunnel" / "nativeplane" / "core"
SOURCE = Path(__file__).parent / "steps.c"
FLAGS = ("-std=gnu11", "-O2", "-pthread", f"-I{CORE}")
ROUNDS, RUNS = 3000, 5


def build(directory: Path) -> Path:
    """The program, of the core's own files."""
    core = sorted(map(str, CORE.glob("*.c")))
    program = directory / "steps"
    subprocess.run(["cc", *FLAGS, "-o", str(program), str(SOURCE), *core, "-lcrypto"], check=True)
    return program


def run(program: Path) -> dict[str, float]:
    """Nanoseconds per packet, by step."""
    lines = subprocess.run([program, str(ROUNDS)], check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def main() -> None:
    """Measure, and print a table."""
    if os.geteuid():
        sys.exit("This makes a network namespace and a TUN device, so it has to run as root.")
    with tempfile.TemporaryDirectory() as directory:
        program = build(Path(directory))
        runs = [run(program) for _ in range(RUNS)]
    table = Table("step", "ns per packet", title=f"Native plane, AES-256-GCM, medians of {RUNS}")
    for name in runs[0]:
        table.add_row(name, f"{statistics.median(figures[name] for figures in runs):,.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
