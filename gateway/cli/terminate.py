"""`portway terminate`: end sessions."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.daemon_access import DEFAULT_CONFIG, OptionalConfigOption, SocketOption, ask_daemon

__all__ = ["terminate"]


def terminate(
    session: Annotated[
        str | None, typer.Option("--id", help="The session's id, as `portway connections` has it.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="End all sessions of this certificate name.")] = None,
    config: OptionalConfigOption = DEFAULT_CONFIG,
    socket: SocketOption = None,
) -> None:
    """End a session, or all of a user. The user may connect again: to keep one out, revoke the certificate."""
    ended = ask_daemon(config, socket, {"request": "terminate", "id": session, "user": user})
    for connection_id in ended:
        typer.echo(f"{connection_id} terminated")
