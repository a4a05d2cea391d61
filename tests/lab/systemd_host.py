"""A host with a systemd that runs: this host's own file system, booted in a namespace of the lab.

Owns: booting, reaching inside, and the end of everything that ran there. What is written inside is in memory and gone
with it. Needs systemd-nspawn, and a kernel that lets root mount overlays and control groups.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.lab.process import LabError, Process, eventually

if TYPE_CHECKING:
    from types import TracebackType

    from tests.lab.namespace import Namespace

__all__ = ["DEPENDENCIES", "SystemdHost", "boot_problem"]

BOOT = Path(__file__).with_suffix(".sh")
DEPENDENCIES = "/usr/local/lib/portway-dependencies"
"""Where the packages that the tests run with are found inside."""
SYSTEM_PYTHON = "/usr/bin/python3"
BOOT_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 120
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    # No network: pip builds with, and the program runs with, what the tests themselves have.
    "PYTHONPATH": DEPENDENCIES,
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say yes
}


@functools.cache
def boot_problem() -> str | None:
    """Why no systemd can be booted here; None where one can."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    asked = subprocess.run([SYSTEM_PYTHON, "--version"], capture_output=True, text=True, check=False)
    if not asked.stdout.startswith(f"Python {version}."):
        return f"needs {SYSTEM_PYTHON} to be Python {version}, as the tests"
    with tempfile.TemporaryDirectory() as directory:
        tried = subprocess.run(["unshare", "--mount", BOOT, directory], capture_output=True, text=True, check=False)
    return f"cannot boot a systemd here: {tried.stderr.strip()}" if tried.returncode else None


class SystemdHost:
    """A booted system whose network is a namespace of the lab, for as long as the `with` block lasts."""

    def __init__(self, namespace: Namespace, directory: Path, *, log: Path) -> None:
        """`directory` is where its file system is mounted, out of everybody else's sight."""
        self._namespace = namespace
        directory.mkdir()
        packages = sysconfig.get_path("platlib")
        name = f"{namespace.name}-systemd"
        self._nspawn = Process(["unshare", "--mount", BOOT, directory, name, namespace.name, packages], log=log)
        try:
            self._init = eventually(self._find_init, within_s=BOOT_TIMEOUT_S, what="a process 1")
            eventually(self._is_up, within_s=BOOT_TIMEOUT_S, what="the system is up")
        except BaseException as error:
            error.add_note(self._nspawn.tail())
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def path(self, inside: str) -> Path:
        """A file of the system, as it is named from here."""
        return Path(f"/proc/{self._init}/root{inside}")

    def run(
        self, *args: str | Path, check: bool = True, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the system, as root does. `LabError` with what it said where it fails."""
        environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        inside = ["nsenter", f"--target={self._init}", "--all", "env", "-i", *environment, *map(str, args)]
        result = subprocess.run(
            inside, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and result.returncode:
            said = f"{result.stdout}{result.stderr}".strip()
            raise LabError(f"{' '.join(map(str, args))} ended with {result.returncode}: {said}")
        return result

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit, as `systemctl show` has them."""
        lines = self.run("systemctl", "show", unit, f"--property={','.join(names)}").stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def journal(self, *options: str) -> list[dict[str, Any]]:
        """The entries of the journal, in its own fields."""
        lines = self.run("journalctl", "--output=json", "--all", *options).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """End every process of the system at once: with process 1 all the others go."""
        if self._nspawn.exit_code is not None:
            return
        if (init := self._find_init()) is None:
            self._nspawn.kill()
        else:
            os.kill(init, signal.SIGKILL)
            self._nspawn.wait(within_s=BOOT_TIMEOUT_S)

    def _find_init(self) -> int | None:
        """The system's process 1, by the number that it has here; `LabError` where there will be none."""
        if self._nspawn.exit_code is not None:
            raise LabError("the system has ended")
        return next(filter(_is_process_one, self._namespace.process_ids()), None)

    def _is_up(self) -> bool:
        return self.run("systemctl", "is-active", "--quiet", "basic.target", check=False).returncode == 0


def _is_process_one(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    *_, in_own_namespace = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
    return in_own_namespace == "1"
