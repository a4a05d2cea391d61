"""`portway check`: everything that can be known to be wrong with a configuration, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import ConfigOption  # noqa: TC001 - typer reads the annotations
from gateway.cli.reporting import say
from gateway.config import Problem, check_config, load_config
from gateway.hostnet import HostNetworkError, read_host_facts
from gateway.state_lock import StateLockError, daemon_id
from policy import Severity

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import GatewaySettings
    from policy import HostFacts

__all__ = ["check"]


def check(
    config: ConfigOption,
    host: Annotated[
        bool, typer.Option("--host/--no-host", help="Whether to look at this host's interfaces and addresses too.")
    ] = True,
) -> None:
    """Say what is wrong with a configuration, before it runs.

    Prints one line per problem: the key, what is wrong with it, and what to do. The certificates, keys and revocation
    lists that the configuration names are looked into as well. Changes nothing and needs no privilege, but must be able
    to read those files.

    The exit status is 1 if there is a problem. Warnings, about what has no effect or will surprise, leave it 0.
    """
    problems = check_config(config, _read_facts) if host else check_config(config)
    for problem in problems:
        typer.echo(_line(problem))
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise typer.Exit(1)
    say(f"{config} is fine.{_remark(config)}")


def _remark(config: Path) -> str:
    return (
        "" if load_config(config).spec.endpoints else " It declares no endpoint: there are only those made at run time."
    )


def _read_facts(settings: GatewaySettings) -> HostFacts | None:
    try:
        return read_host_facts(daemon_id(settings.state_dir))
    except (HostNetworkError, StateLockError) as error:
        say(f"This host could not be looked at: {error}")
        return None


def _line(problem: Problem) -> str:
    return str(problem) if problem.severity is Severity.ERROR else f"Warning: {problem}"
