"""`portway check`: everything that can be known to be wrong with a configuration, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.reporting import say
from gateway.config import Problem, check_config
from policy.problems import Severity

__all__ = ["ConfigOption", "check"]

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.", show_default=True)]


def check(config: ConfigOption = Path("config.toml")) -> None:
    """Validate a configuration: one sentence per problem, and exit status 1 if there is one.

    Warnings, about what has no effect or will surprise, leave the exit status 0.
    """
    problems = check_config(config)
    for problem in problems:
        typer.echo(_line(problem))
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise typer.Exit(1)
    say(f"{config} is fine.")


def _line(problem: Problem) -> str:
    return str(problem) if problem.severity is Severity.ERROR else f"Warning: {problem}"
