"""Options that many commands share, and how commands look on a terminal: plain text, as manual pages are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ConfigOption", "JsonOption", "default_config", "examples"]

HERE = Path("config.toml")
INSTALLED = Path("/etc/portway/config.toml")
"""Where `make install` puts it."""


def default_config() -> Path:
    """The configuration of the current directory; where there is none, the one of the installed service."""
    return INSTALLED if not _is_there(HERE) and _is_there(INSTALLED) else HERE


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
        help=f"The configuration file. If not given: {HERE}, or else {INSTALLED}.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
