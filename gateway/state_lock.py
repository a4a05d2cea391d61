"""One daemon per state directory: a lock that the kernel releases, however the daemon ends.

Also derives from the directory the id by which daemons on one host are told apart.
"""

from __future__ import annotations

import hashlib
from typing import IO, TYPE_CHECKING, Self

from gateway.file_lock import LockHeldError, lock_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["StateLock", "StateLockError", "daemon_id"]

_LOCK_NAME = "lock"


class StateLockError(Exception):
    """The state directory cannot be used, or another daemon uses it."""


class StateLock:
    """An exclusive hold on a state directory, as a context manager; raises `StateLockError` on entering."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = lock_file(self._state_dir / _LOCK_NAME)
        except OSError as error:
            raise StateLockError(f"the state directory {self._state_dir} is not usable: {error.strerror}") from error
        except LockHeldError as error:
            raise StateLockError(
                f"{error.holder} uses the state directory {self._state_dir}; give each daemon its own"
            ) from error
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
