"""`portway completion`: what a shell needs to complete the words of commands."""

from __future__ import annotations

import enum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]  # typer's own options print the same

__all__ = ["completion"]


class Shell(enum.Enum):
    """Shells that can complete words."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
    """Print what a shell completes commands by.

    For zsh, the file belongs into a directory of `$fpath`, before `compinit` runs.
    """
    typer.echo(get_completion_script(prog_name="portway", complete_var="_PORTWAY_COMPLETE", shell=shell.value))
