"""Seals secrets before they reach the database, so that a copy of it gives nobody away.

The key is a file of the gateway's, mode 0600, beside the database or wherever the configuration says; who moves the
database to another host takes it along.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Self

from cryptography.fernet import Fernet, InvalidToken

from gateway.store.errors import StoreError
from gateway.store.private_files import make_private

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Vault"]

_OTHERS = stat.S_IROTH | stat.S_IWOTH


class Vault:
    """Seals and opens octets with one key (Fernet: AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, key: bytes) -> None:
        """`key` is Fernet's: 32 octets in URL-safe base64."""
        self._fernet = Fernet(key)

    @classmethod
    def at(cls, path: Path) -> Self:
        """The vault of a key file, which is made where there is none. Raises `StoreError`."""
        if not path.exists():
            try:
                make_private(path, _write_key)
            except OSError as error:
                raise StoreError(f"the store's key {path} cannot be made: {error.strerror}") from error
        return cls.existing(path)

    @classmethod
    def existing(cls, path: Path) -> Self:
        """The vault of a key file that has to be there. Raises `StoreError`."""
        try:
            mode = path.stat().st_mode
            key = path.read_bytes().strip()
        except OSError as error:
            raise StoreError(f"the store's key {path} cannot be read: {error.strerror}") from error
        if mode & _OTHERS:
            raise StoreError(f"{path} is open to every user of the host (mode {stat.S_IMODE(mode):04o}); chmod 600 it")
        try:
            return cls(key)
        except ValueError as error:
            raise StoreError(
                f"{path} holds no key of the store; put the right one there. Without it, sealed secrets are lost."
            ) from error

    def seal(self, secret: bytes) -> bytes:
        """Encrypt and authenticate."""
        return self._fernet.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """Give back what was sealed. Raises `StoreError` where another key sealed it."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken as error:
            raise StoreError("a secret in the store was sealed with another key; name the right key file") from error


def _write_key(path: Path) -> None:
    path.write_bytes(Fernet.generate_key() + b"\n")
