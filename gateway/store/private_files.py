"""Makes files that are the gateway's own: whole from the first moment, mode 0600, and never in the place of another."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["make_private"]


def make_private(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a file, and put it in its place unless there is one by then. Raises `OSError`.

    Whoever opens the path finds nothing or all of it, also while several processes make it at once.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as workplace:
        made = Path(workplace, path.name)
        made.touch(mode=0o600)
        fill(made)
        _give_to_owner_of(path.parent, made)
        _sync(made)
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
    _sync(path.parent)


def _give_to_owner_of(directory: Path, made: Path) -> None:
    """What root makes here belongs to whom the directory belongs to: the daemon has to use it."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
