"""What a server costs, read from /proc.

CPU time is what the kernel charges to the process with all its threads. What the server's own system calls set off on
the gateway's side (routing, filters, the way to the veth pair's other end) is done in its name, as softirq work often
is, and charged to it as well: to every server alike. What clients and targets do with it is not: their hosts receive in
threads of their own (`Lab` with `machines_apart`).
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "parse_memory", "parse_stat", "usage"]

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
KIB = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its children have cost so far. Memory in octets."""

    user_s: float
    system_s: float
    resident: int
    proportional: int
    """Resident, with what is shared divided among those who share it (Pss)."""

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s

    def since(self, earlier: Usage) -> Usage:
        """CPU time and memory that have been added since an earlier reading."""
        return Usage(
            self.user_s - earlier.user_s,
            self.system_s - earlier.system_s,
            self.resident - earlier.resident,
            self.proportional - earlier.proportional,
        )


def parse_stat(text: str) -> tuple[int, int]:
    """User and system time of /proc/PID/stat in clock ticks, with those of children that were waited for (proc(5))."""
    fields = text.rpartition(")")[2].split()  # a command may hold blanks and brackets
    return int(fields[11]) + int(fields[13]), int(fields[12]) + int(fields[14])


def parse_memory(text: str) -> tuple[int, int]:
    """Rss and Pss of /proc/PID/smaps_rollup in octets."""
    found = dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB$", text, re.MULTILINE))
    return int(found["Rss"]) * KIB, int(found["Pss"]) * KIB


def usage(pid: int) -> Usage:
    """Read /proc for a process and its living descendants."""
    user = system = resident = proportional = 0
    for member in _tree(pid):
        place = Path("/proc", str(member))
        try:
            times, memory = parse_stat((place / "stat").read_text()), parse_memory((place / "smaps_rollup").read_text())
        except (OSError, KeyError):
            if member == pid:
                raise
            continue  # a child that has just ended: its time is its parent's by now
        user, system = user + times[0], system + times[1]
        resident, proportional = resident + memory[0], proportional + memory[1]
    return Usage(user / CLOCK_TICKS, system / CLOCK_TICKS, resident, proportional)


def _tree(pid: int) -> list[int]:
    members = [pid]
    for member in members:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                members += [int(child) for child in children.read_text().split()]
    return members
