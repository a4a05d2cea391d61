"""Files that commands write: new ones, which only their owner reads; and files that they are given to read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gateway.cli.reporting import fail

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_pem", "write_new"]


def write_new(path: Path, text: str) -> None:
    """Write a file, mode 0600, that is not there yet. Ends the command with a sentence where that fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise fail(f"{path} cannot be written: {error.strerror}.") from None


def read_pem(path: Path) -> str:
    """Read a file that holds PEM. Ends the command with a sentence where that fails."""
    try:
        return path.read_text("ascii")
    except OSError as error:
        raise fail(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise fail(f"{path} cannot be read: it is no PEM.") from None
