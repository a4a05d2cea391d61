"""`portway terminate`: end sessions."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.daemon_access import SocketOption, ask_daemon
from gateway.cli.options import ConfigOption  # noqa: TC001 - typer reads the annotations

__all__ = ["terminate"]


def terminate(
    config: ConfigOption,
    session: Annotated[
        str | None, typer.Option("--id", help="The session's id, as `portway connections` has it.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="End all sessions of this certificate name.")] = None,
    socket: SocketOption = None,
) -> None:
    """End a session, or all sessions of a user.

    The client stops by itself, and its user may connect again: to keep somebody out, revoke the certificate with
    `portway pki revoke` and then `portway reload`. Prints the ids of the sessions that it ended.
    """
    ended = ask_daemon(config, socket, {"request": "terminate", "id": session, "user": user})
    for connection_id in ended:
        typer.echo(f"{connection_id} terminated")
