"""Runs `nft`: whole transactions in JSON go in, listings come out. Knows no rule of ours.

Blocking, for a worker thread: a transaction that was begun is finished, whatever is cancelled meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from gateway.hostnet.errors import NftablesError, NftablesTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FAMILY", "Nft"]

FAMILY = "inet"

_TIMEOUT_S = 10.0
_SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
"""Where distributions put `nft`; a user's PATH often lacks the sbin directories."""


class Nft:
    """The `nft` command; every method raises `NftablesError`."""

    def __init__(self, command: str | None = None) -> None:
        """`command` is the program's path; None looks for it."""
        search_path = os.pathsep.join(filter(None, (os.environ.get("PATH"), _SYSTEM_PATH)))
        self._command = command or shutil.which("nft", path=search_path)

    def apply(self, commands: Sequence[Mapping[str, Any]]) -> None:
        """Carry out all commands, or none."""
        if commands:
            self._run(["-f", "-"], json.dumps({"nftables": commands}))

    def table_names(self) -> set[str]:
        """The names of all `inet` tables."""
        tables = (item["table"] for item in self._list("tables") if "table" in item)
        return {table["name"] for table in tables if table["family"] == FAMILY}

    def table(self, name: str) -> list[dict[str, Any]]:
        """Everything inside an `inet` table, in nft's own JSON; empty where there is no such table."""
        try:
            return self._list("table", FAMILY, name)
        except NftablesError:
            if name in self.table_names():
                raise
            return []

    def _list(self, *what: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self._run(["list", *what]))["nftables"]
        return [item for item in items if "metainfo" not in item]

    def _run(self, arguments: list[str], text: str = "") -> str:
        if self._command is None:
            raise NftablesError("the program 'nft' is not installed; install the package nftables")
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program, and arguments that no shell reads
                [self._command, "--json", *arguments],
                input=text,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
                env={"LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise NftablesTimeoutError(f"{self._command} has not ended within {_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise NftablesError(f"cannot run {self._command}: {error}") from error
        if done.returncode != 0:
            raise NftablesError(_explain(done.stderr))
        return done.stdout


def _explain(complaint: str) -> str:
    if "Operation not permitted" in complaint:
        return "nftables refuses changes: Operation not permitted; run Portway as root or with CAP_NET_ADMIN"
    first_line = complaint.strip().partition("\n")[0]
    return f"nftables refuses a transaction: {first_line or 'no reason given'}"
