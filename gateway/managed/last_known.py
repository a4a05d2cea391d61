"""What the store asked for when it was last seen, kept beside it: what the gateway starts with while the store is away.

One file in the state directory, sealed like the secrets in the store, and written whole or not at all. What cannot be
kept takes the former file along: an older state may allow what was revoked since, and none at all allows nothing. The
file's time is when it was last what the store asked for.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from gateway.managed.snapshot import Snapshot
from gateway.store import StoreError

if TYPE_CHECKING:
    from gateway.store import Vault

__all__ = ["LastKnown"]

FILE_NAME = "managed-endpoints.json"

logger = structlog.get_logger("store")


class LastKnown:
    """The file. Its methods block."""

    def __init__(self, state_dir: Path, vault: Vault) -> None:
        self._path = state_dir / FILE_NAME
        self._vault = vault
        self._written: Snapshot | None = None
        self.problem = ""
        """Why what is known cannot be kept; empty while it is."""
        self.as_of: float | None = None
        """Of when that is which was read, in Unix seconds; None where there was nothing."""

    def read(self) -> Snapshot:
        """What was kept last; nothing where there is no file, or none that can be used."""
        try:
            snapshot = _SNAPSHOT.validate_json(self._vault.open(self._path.read_bytes()))
            self.as_of = self._path.stat().st_mtime
        except FileNotFoundError:
            return Snapshot()
        except (OSError, StoreError, ValidationError) as error:
            logger.warning("the last known endpoints cannot be used", file=str(self._path), error=str(error))
            return Snapshot()
        return snapshot

    def keep(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, or note that it is still what is asked for. Where that fails there is nothing kept."""
        try:
            if snapshot == self._written:
                os.utime(self._path)
                return
            self._written = None
            self._write(self._vault.seal(_SNAPSHOT.dump_json(snapshot, warnings="error")))
        except (OSError, PydanticSerializationError) as error:
            self._give_up(error)
        else:
            self._written, self.problem = snapshot, ""

    def _give_up(self, error: Exception) -> None:
        self._written = None
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        left = ""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            left = f" An older state could not be removed either: delete {self._path}."
        if not self.problem:
            logger.warning("the endpoints cannot be kept", file=str(self._path), error=why)
        self.problem = f"{why}.{left}"

    def _write(self, octets: bytes) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f".{FILE_NAME}-", dir=self._path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise


_SNAPSHOT = TypeAdapter(Snapshot)
