"""What the figures were taken on."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests.lab import openvpn_version

__all__ = ["Machine", "describe", "parse_cpu_model"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware, kernel and versions, and how busy it was."""

    time: str
    cpu: str
    cores: int
    kernel: str
    python: str
    cryptography: str
    portway: str
    aead: str
    """The library that encrypts for the native plane and the load client."""
    openvpn: str
    load_average: tuple[float, float, float]

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores, Linux {self.kernel}, Python {self.python}, OpenVPN {self.openvpn}, "
            f"AEADs of the native plane by {self.aead}, load average {self.load_average[0]:.1f}"
        )


def describe(aead: str) -> Machine:
    """This machine, now; `aead` is what the core has found on it."""
    return Machine(
        time=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        cpu=parse_cpu_model(Path("/proc/cpuinfo").read_text()) or platform.machine(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        cryptography=metadata.version("cryptography"),
        portway=_portway_version(),
        aead=aead,
        openvpn=openvpn_version(),
        load_average=os.getloadavg(),
    )


def parse_cpu_model(cpuinfo: str) -> str:
    """The processor's name in /proc/cpuinfo; empty where there is none."""
    found = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _portway_version() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    revision = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return f"{metadata.version('portway')} ({revision.stdout.strip() or 'no git'})"
