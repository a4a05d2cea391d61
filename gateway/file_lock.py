"""A lock in a file that the kernel releases, however its holder ends; the file says who that is."""

from __future__ import annotations

import fcntl
import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LockHeldError", "lock_file"]


class LockHeldError(Exception):
    """Another process holds the lock."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = f"another Portway daemon (process {holder})" if holder else "another Portway daemon"
        """Who that is, in words."""


def lock_file(path: Path) -> IO[str]:
    """Lock a file, which is made where there is none, until what is returned is closed.

    The file stays behind: removing it would let two processes lock two files of one name. Raises `LockHeldError`, and
    `OSError` where the file cannot be used.
    """
    file = open(path, "a+", encoding="ascii", opener=_open_private)  # noqa: SIM115 - it is the lock
    try:
        _lock(file)
    except BaseException:
        file.close()
        raise
    return file


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, mode=0o600)


def _lock(file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise LockHeldError(file.read().strip()) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
