"""What the store asked for when it was last seen, kept beside it: what the gateway starts with while the store is away.

One file in the state directory, sealed like the secrets in the store, and written whole or not at all.
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

    def read(self) -> Snapshot:
        """What was kept last; nothing where there is no file, or none that can be used."""
        try:
            return _SNAPSHOT.validate_json(self._vault.open(self._path.read_bytes()))
        except FileNotFoundError:
            return Snapshot()
        except (OSError, StoreError, ValidationError) as error:
            logger.warning("the last known endpoints cannot be used", file=str(self._path), error=str(error))
            return Snapshot()

    def keep(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless it is there already. Where that fails, the former one stays."""
        if snapshot == self._written:
            return
        try:
            self._write(self._vault.seal(_SNAPSHOT.dump_json(snapshot, warnings="error")))
        except (OSError, PydanticSerializationError) as error:
            logger.warning("the endpoints cannot be kept", file=str(self._path), error=str(error))
        else:
            self._written = snapshot

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
