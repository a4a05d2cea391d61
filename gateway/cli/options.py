"""Options that many commands share, and how commands look on a terminal: plain text, as manual pages are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.reporting import fail

__all__ = ["ConfigOption", "JsonOption", "default_config", "examples", "found_config"]

HERE = Path("config.toml")
INSTALLED = Path("/etc/portway/config.toml")
"""Where `make install` puts it."""
FIRST = Path("/var/lib/portway/config.toml")
"""Where `portway quickstart` puts it."""


def default_config() -> Path:
    """The configuration of the current directory, or that of the installed service, or else quickstart's."""
    return next(filter(_is_there, (HERE, INSTALLED, FIRST)), HERE)


def found_config(config: Path) -> Path:
    """The same; ends the command with a sentence where none was named and there is none to find."""
    if config == HERE and not _is_there(HERE):
        raise fail(f"There is no {HERE} here, and no {INSTALLED} or {FIRST}: name the configuration with --config.")
    return config


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True  # and reading it will say what is in the way
    except OSError:
        return False
    return True


def examples(*lines: str) -> str:
    """The end of a command's help: command lines to copy, kept apart from each other."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


# typer's own complaint about a path that may not be read is a usage message: `readable=False` leaves it to whoever
# reads the path to say so in a sentence.

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        default_factory=default_config,
        readable=False,
        show_default=False,
        help=f"The configuration file. If not given: {HERE}, or else {INSTALLED}, or else {FIRST}.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
