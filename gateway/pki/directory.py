"""The authority's directory: files that only their owner can read, written whole or not at all.

Owns modes, atomic writing and the lock that keeps two commands apart. Must not know what the files mean.
Raises PkiError with a sentence for whatever the file system refuses.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.pki.errors import PkiError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Directory"]

_LOCK = ".lock"
_LOCK_TIMEOUT_S = 10.0
_LOCK_RETRY_S = 0.05


class Directory:
    """A directory of mode 0700 whose files have mode 0600."""

    def __init__(self, path: Path) -> None:
        """Nothing is touched yet."""
        self.path = path

    def create(self) -> None:
        """Make the directory if it is not there."""
        with self._explained("made"):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def file(self, name: str) -> Path:
        """Return where the file of this name is, or would be."""
        return self.path / name

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        with self._explained("read"):
            try:
                self.file(name).lstat()
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self._explained("read"):
            return self.file(name).read_bytes()

    def add(self, name: str, content: bytes) -> None:
        """Write a new file. A file that is there already stays as it is, and is a PkiError."""
        with self._explained("written"), self._temporary(content) as temporary:
            try:
                os.link(temporary, self.file(name))
            except FileExistsError:
                raise PkiError(f"{self.file(name)} exists already, and nothing is ever overwritten.") from None

    def replace(self, name: str, content: bytes) -> None:
        """Write a file, in the place of the one that is there."""
        with self._explained("written"), self._temporary(content) as temporary:
            temporary.replace(self.file(name))

    def move_away(self, name: str, folder: str, new_name: str) -> None:
        """Move a file, if it is there, into a folder of the directory."""
        with self._explained("written"):
            if not self.exists(name):
                return
            self._make_folder(self.path / folder)
            self.file(name).rename(self.path / folder / new_name)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the directory; waits for one that does."""
        with self._explained("written"):
            descriptor = os.open(self.file(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._give_to_owner(descriptor)
            self._wait_for_lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _temporary(self, content: bytes) -> Iterator[Path]:
        descriptor, name = tempfile.mkstemp(dir=self.path, prefix=".new-")  # of mode 0600 from the start
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._give_to_owner(file.fileno())
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
            self._sync()
        finally:
            temporary.unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(mode=0o700)
            with self._descriptor_of(folder, os.O_NOFOLLOW) as descriptor:
                self._give_to_owner(descriptor)

    def _give_to_owner(self, descriptor: int) -> None:
        """Let what root writes here belong to whom the directory belongs to: the daemon has to read it.

        A file with a second name is left alone: the owner may have put it here to be given it.
        """
        status = os.fstat(descriptor)
        if os.geteuid() == 0 and (stat.S_ISDIR(status.st_mode) or status.st_nlink == 1):
            owner = self.path.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def _wait_for_lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PkiError(f"{self.path} is in use by another command. Try again when it has ended.") from None
                time.sleep(_LOCK_RETRY_S)
            else:
                return

    def _sync(self) -> None:
        with self._descriptor_of(self.path) as descriptor:
            os.fsync(descriptor)

    @staticmethod
    @contextlib.contextmanager
    def _descriptor_of(folder: Path, flags: int = 0) -> Iterator[int]:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            name = error.filename if isinstance(error.filename, str) else str(self.path)
            advice = " Run this as the directory's owner, or as root." if isinstance(error, PermissionError) else ""
            raise PkiError(f"{name} cannot be {verb}: {error.strerror or error}.{advice}") from error
