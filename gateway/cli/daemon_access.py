"""How a command finds the running daemon, and speaks to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import found_config
from gateway.cli.reporting import failing_with_sentences
from gateway.config import ConfigError
from gateway.config.whereabouts import find_processes
from gateway.control_socket import ControlError, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SocketOption", "ask_daemon"]

SocketOption = Annotated[
    Path | None,
    typer.Option(
        "--socket", readable=False, help="The gateway's control socket, where there is no configuration at hand."
    ),
]


def ask_daemon(config: Path, socket: Path | None, request: Mapping[str, Any]) -> Any:
    """Send a request to the daemon and give the result; ends the command with a sentence where that fails."""
    with failing_with_sentences(ConfigError, ControlError):
        return ask(socket or find_processes(found_config(config)).control_socket, request)
