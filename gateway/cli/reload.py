"""`portway reload`: have the gateway load its configuration again, and hear what became of it."""

from __future__ import annotations

import typer

from gateway.cli.daemon_access import SocketOption, ask_daemon
from gateway.cli.options import ConfigOption  # noqa: TC001 - typer reads the annotations

__all__ = ["reload"]


def reload(config: ConfigOption, socket: SocketOption = None) -> None:
    """Have the gateway load its configuration again.

    Does what SIGHUP does, and says what has changed. A configuration with a mistake in it changes nothing: then the
    exit status is 1, and each problem is a line on standard error.
    """
    for sentence in ask_daemon(config, socket, {"request": "reload"}):
        typer.echo(sentence)
