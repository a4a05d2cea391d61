"""`portway check`: everything that can be known to be wrong with a configuration, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.reporting import say
from gateway.config import Problem, check_config
from gateway.hostnet import HostNetworkError, read_host_facts
from gateway.state_lock import StateLockError, daemon_id
from policy import Severity

if TYPE_CHECKING:
    from gateway.config import GatewaySettings
    from policy import HostFacts

__all__ = ["ConfigOption", "check"]

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.", show_default=True)]


def check(
    config: ConfigOption = Path("config.toml"),
    host: Annotated[
        bool, typer.Option("--host/--no-host", help="Whether to look at this host's interfaces and addresses.")
    ] = True,
) -> None:
    """Validate a configuration: one sentence per problem, and exit status 1 if there is one.

    Warnings, about what has no effect or will surprise, leave the exit status 0. Needs no privilege, but must be able
    to read the files that the configuration names.
    """
    problems = check_config(config, _read_facts) if host else check_config(config)
    for problem in problems:
        typer.echo(_line(problem))
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise typer.Exit(1)
    say(f"{config} is fine.")


def _read_facts(settings: GatewaySettings) -> HostFacts | None:
    try:
        return read_host_facts(daemon_id(settings.state_dir))
    except (HostNetworkError, StateLockError) as error:
        say(f"This host could not be looked at: {error}")
        return None


def _line(problem: Problem) -> str:
    return str(problem) if problem.severity is Severity.ERROR else f"Warning: {problem}"
