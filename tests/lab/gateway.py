"""`portway serve` in the lab's gateway, and the other `portway` commands as a person types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.config import build_toml
from tests.lab.process import LabError, Process, eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.config import Toml
    from tests.lab.namespace import Namespace

__all__ = ["PORTWAY", "Gateway", "Pki", "portway"]

PORTWAY = Path(sys.executable).with_name("portway")
READY = "gateway ready"
COMMAND_TIMEOUT_S = 60


def portway(*args: str | Path, namespace: Namespace | None = None, check: bool = True) -> str:
    """What a `portway` command prints on standard output; `LabError` with what it complains of where it fails."""
    command = [str(PORTWAY), *map(str, args)]
    if namespace is not None:
        command = namespace.command(*command)
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    if check and result.returncode:
        raise LabError(f"portway {' '.join(map(str, args))} ended with {result.returncode}: {result.stderr.strip()}")
    return result.stdout


class Pki:
    """The directory that `portway pki` keeps."""

    def __init__(self, directory: Path, key_type: str = "ecdsa-p256") -> None:
        self.directory = directory
        self._key_type = f"--key-type={key_type}"
        self.run("init", self._key_type)
        self.run("server", "server", self._key_type)

    def run(self, *args: str) -> str:
        return portway("pki", *args, "--dir", self.directory)

    def client(self, name: str, *groups: str) -> None:
        self.run("client", name, self._key_type, *(f"--group={group}" for group in groups))


class Gateway(Process):
    """A running `portway serve` that accepts clients. `directory` holds `config.toml`, `pki` and `state`."""

    def __init__(
        self, namespace: Namespace, directory: Path, config: Toml, *, log: Path, wrapper: Sequence[str] = ()
    ) -> None:
        """`wrapper` is a command that runs another, such as `setpriv`, put before `portway`."""
        self.namespace = namespace
        self.directory = directory
        self.config = directory / "config.toml"
        self.write(config)
        super().__init__(namespace.command(*wrapper, PORTWAY, "serve", "--config", self.config), log=log)
        try:
            self.wait_for(READY)
        except BaseException:
            self.kill()
            raise

    def write(self, config: Toml) -> None:
        """Replace the configuration file; the daemon notices on `reload`."""
        self.config.write_text(build_toml(config))

    def reload(self) -> None:
        """SIGHUP."""
        self.signal(signal.SIGHUP)

    def portway(self, *args: str | Path) -> str:
        """A command that talks to the daemon, or reads its configuration."""
        return portway(*args, "--config", self.config, namespace=self.namespace)

    def connections(self) -> list[dict[str, Any]]:
        """What `portway connections --json` prints."""
        connections: list[dict[str, Any]] = json.loads(self.portway("connections", "--json"))
        return connections

    def log_records(self) -> list[dict[str, Any]]:
        """The connection log so far."""
        log = self.directory / "state" / "connections.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def wait_for_record(self, *, within_s: float = 10, **wanted: str) -> dict[str, Any]:
        """The last record of the connection log with these values; underscores in names stand for dashes."""
        keys = {name.replace("_", "-"): value for name, value in wanted.items()}

        def look() -> list[dict[str, Any]]:
            return [record for record in self.log_records() if keys.items() <= record.items()]

        try:
            return eventually(look, within_s=within_s, what=f"the connection log has {keys}")[-1]
        except LabError as error:
            raise LabError(f"{error}; it has {self.log_records()[-3:]}\n{self.tail()}") from None
