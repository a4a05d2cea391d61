"""One daemon per state directory: a lock that the kernel releases, however the daemon ends.

Also derives from the directory the id by which daemons on one host are told apart.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["StateLock", "StateLockError", "daemon_id"]

_LOCK_NAME = "lock"


class StateLockError(Exception):
    """The state directory cannot be used, or another daemon uses it."""


class StateLock:
    """An exclusive hold on a state directory, as a context manager; raises `StateLockError` on entering.

    The file stays behind when the lock is released: removing it would let two daemons lock two files of one name.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = open(self._state_dir / _LOCK_NAME, "a+", encoding="ascii", opener=_open_private)
        except OSError as error:
            raise StateLockError(f"the state directory {self._state_dir} is not usable: {error.strerror}") from error
        try:
            _lock(file, self._state_dir)
        except BaseException:
            file.close()
            raise
        self._file = file
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def daemon_id(state_dir: Path) -> str:
    """Eight hexadecimal digits for a state directory: the same for all its names, and another for each other one.

    A directory that does not exist (yet) is known by its path. Raises `StateLockError` where it may not be looked at.
    """
    try:
        status = state_dir.stat()
        identity = f"{status.st_dev}:{status.st_ino}"
    except FileNotFoundError:
        identity = str(state_dir.absolute())
    except OSError as error:
        raise StateLockError(f"the state directory {state_dir} is not usable: {error.strerror}") from error
    return hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:8]


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, mode=0o600)


def _lock(file: IO[str], state_dir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip()
        who = f"another Portway daemon (process {holder})" if holder else "another Portway daemon"
        raise StateLockError(f"{who} uses the state directory {state_dir}; give each daemon its own") from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
