"""`portway connections`: who is connected."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from gateway.cli.daemon_access import SocketOption, ask_daemon
from gateway.cli.options import ConfigOption, JsonOption  # noqa: TC001 - typer reads the annotations
from gateway.cli.reporting import print_json, say

__all__ = ["connections"]

WIDTH_IN_FILES = 300
"""Columns, where nobody's terminal sets a limit: ids must not be cut short."""


def connections(config: ConfigOption, socket: SocketOption = None, json: JsonOption = False) -> None:
    """List the clients that are connected.

    For each: its id, as the connection log has it; the name and groups of its certificate; its address inside the
    tunnel and the one that it comes from; its program and cipher; how long it has been here; and the octets that it has
    sent (In) and received (Out).
    """
    sessions = ask_daemon(config, socket, {"request": "connections"})
    if json:
        print_json(sessions)
        return
    if not sessions:
        say("Nobody is connected.")
        return
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_FILES).print(
        _table(sessions)
    )


def _table(sessions: list[dict[str, Any]]) -> Table:
    table = Table("Id", "Name", "Groups", "Inside", "From", "Client", "Cipher", "For", "In", "Out", box=None)
    for session in sessions:
        table.add_row(
            session["id"],
            session["common_name"],
            ", ".join(session["groups"]),
            session["client_ip"],
            f"{session['device_ip']}:{session['port']}/{session['transport']}",
            f"{session['client_version']} {session['platform']}".strip(),
            session["cipher"],
            str(timedelta(seconds=session["duration_s"])) if session["status"] == "active" else session["status"],
            decimal(session["ingress_bytes"]),
            decimal(session["egress_bytes"]),
        )
    return table
