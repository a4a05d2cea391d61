"""`portway reload`: have the gateway load its configuration again, and hear what became of it."""

from __future__ import annotations

import typer

from gateway.cli.daemon_access import DEFAULT_CONFIG, OptionalConfigOption, SocketOption, ask_daemon

__all__ = ["reload"]


def reload(config: OptionalConfigOption = DEFAULT_CONFIG, socket: SocketOption = None) -> None:
    """Load the configuration again, as SIGHUP does, and say what has changed or why nothing has."""
    for sentence in ask_daemon(config, socket, {"request": "reload"}):
        typer.echo(sentence)
