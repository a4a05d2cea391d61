"""Network namespaces with names of their own, removed whatever happens.

Owns: making, wiring and removing namespaces, and running things in them. Every name begins with `pw-` and the
number of the process that made it, so that what a killed run left behind is recognised and swept by the next one.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.process import LabError, Process

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Namespace", "sweep_leftovers", "unique_prefix"]

NAMESPACES = Path("/run/netns")
OWNED = re.compile(r"pw-(\d+)-[0-9a-f]{4}-")
COMMAND_TIMEOUT_S = 60


def unique_prefix() -> str:
    """Begins the names of one lab: `pw-<pid>-<random>-`."""
    return f"pw-{os.getpid()}-{secrets.token_hex(2)}-"


def _ip(*args: str, script: str | None = None) -> None:
    result = subprocess.run(["ip", *args], input=script, capture_output=True, text=True, check=False)
    if result.returncode:
        raise LabError(f"ip {' '.join(args)} refused: {result.stderr.strip()}\n{script or ''}")


class Namespace:
    """One network namespace: a host of the lab. `close` ends what still runs in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        _ip("netns", "add", name)

    def __repr__(self) -> str:
        return f"Namespace({self.name})"

    def ip(self, *commands: str) -> None:
        """Run `ip` commands in here, all in one process; `LabError` at the first that fails."""
        _ip("-netns", self.name, "-batch", "-", script="\n".join(commands))

    def command(self, *args: str | Path) -> list[str]:
        """The argument list that runs a command in here; the process it starts becomes that command."""
        return ["ip", "netns", "exec", self.name, *map(str, args)]

    def run(
        self, *args: str | Path, check: bool = True, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. `LabError` with what it said where it fails, unless `check` is off."""
        result = subprocess.run(
            self.command(*args),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and result.returncode:
            said = f"{result.stdout}{result.stderr}".strip()
            raise LabError(f"{' '.join(map(str, args))} ended with {result.returncode}: {said}")
        return result

    def start(
        self, *args: str | Path, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Process:
        """Run a command in the background."""
        return Process(self.command(*args), log=log, cwd=cwd, env=env)

    def sysctl(self, key: str, value: str | int) -> None:
        """Set a network sysctl of this namespace, such as `net.ipv4.ip_forward`."""
        self.run("sysctl", "-q", "-w", f"{key}={value}")

    def process_ids(self) -> list[int]:
        """Whoever runs in here at the moment."""
        return _process_ids(self.name)

    def interfaces(self) -> set[str]:
        """The names of all links, without the loopback."""
        lines = self.run("ip", "-o", "link", "show").stdout.splitlines()
        return {line.split(": ")[1].partition("@")[0] for line in lines} - {"lo"}

    def network_state(self) -> str:
        """Everything that a gateway may have changed here: links, addresses, rules, routes, nftables, forwarding."""
        questions = (
            "ip -o -4 addr show",
            "ip rule show",
            "ip -4 route show table all",
            "nft list ruleset",
            "sysctl -a --pattern ^net.ipv4.*forward",
        )
        answers = [self.run(*question.split()).stdout for question in questions]
        # How long an address is still good for counts down by itself; whether a link has a carrier is not ours.
        return re.sub(r"valid_lft.*| linkdown", "", "\n".join([*sorted(self.interfaces()), *answers]))

    def ping(self, address: str, *, within_s: float = 2, interface: str = "", size: int = 56) -> bool:
        """Whether an echo comes back; `size` octets of payload, in fragments where that is a lot."""
        device = ["-I", interface] if interface else []
        arguments = ["ping", "-n", "-q", *device, "-c", "1", "-s", str(size), "-w", str(within_s), address]
        return self.run(*arguments, check=False).returncode == 0

    def close(self) -> None:
        """Kill what runs in here and remove the namespace."""
        _remove(self.name)


def sweep_leftovers() -> None:
    """Remove the namespaces of runs that no longer live."""
    if NAMESPACES.is_dir():
        for path in NAMESPACES.iterdir():
            owner = OWNED.match(path.name)
            if owner and not Path(f"/proc/{owner[1]}").exists():
                _remove(path.name)


def _remove(name: str) -> None:
    # A namespace lives on while a process is in it, so that its interfaces would outlive its name.
    for _ in range(100):
        if not (pids := _process_ids(name)):
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _process_ids(name: str) -> list[int]:
    found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]
