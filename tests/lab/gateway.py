"""`portway serve` in the lab's gateway, and the commands that talk to it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.process import Process

if TYPE_CHECKING:
    import subprocess

    from tests.lab.namespace import Namespace

__all__ = ["PORTWAY", "Gateway"]

PORTWAY = Path(sys.executable).with_name("portway")
READY = "gateway.ready"
"""The event that `portway serve` logs when every endpoint listens."""


class Gateway(Process):
    """A running `portway serve`, ready once it is made."""

    def __init__(self, namespace: Namespace, config: Path, *, log: Path) -> None:
        self.namespace = namespace
        self.config = config
        super().__init__(namespace.command(PORTWAY, "serve", "--config", config), log=log)
        self.wait_for(READY)

    def portway(self, *args: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `portway` command beside the daemon."""
        return self.namespace.run(PORTWAY, *args, "--config", self.config, check=check)

    def connections(self) -> list[dict[str, Any]]:
        """What `portway connections --json` prints."""
        records: list[dict[str, Any]] = json.loads(self.portway("connections", "--json").stdout)
        return records

    def reload(self) -> None:
        self.signal(signal.SIGHUP)
