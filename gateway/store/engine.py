"""Opening the store: which database it is, its tables brought up to date, and the key that belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError

from gateway.store.errors import StoreError
from gateway.store.migrating import is_current, migrate
from gateway.store.postgresql import PostgresqlBackend
from gateway.store.schema import access_key, certificate, endpoint, key_proof
from gateway.store.sqlite import SqliteBackend
from gateway.store.store import Store, read, write
from gateway.store.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import URL, Connection

    from gateway.store.backend import Backend

__all__ = ["open_store"]

_BACKENDS: dict[str, Callable[[URL], Backend]] = {"sqlite": SqliteBackend, "postgresql": PostgresqlBackend}
_PROOF = b"portway"


def open_store(url: str, key_file: Path) -> Store:
    """Open the database, making or migrating its tables, and its key file. Raises `StoreError`.

    `url` is SQLAlchemy's: `sqlite:////var/lib/portway/portway.db` or `postgresql://user@host/database`.
    """
    backend = _backend(url)
    try:
        with read(backend) as connection:
            current = is_current(connection)
        if not current:
            with write(backend) as connection:
                migrate(connection)
        return Store(backend, _vault(backend, key_file))
    except DBAPIError as error:
        backend.engine.dispose()
        raise StoreError(f"the store's tables cannot be made or used: {error.orig}") from error
    except BaseException:
        backend.engine.dispose()
        raise


def _backend(url: str) -> Backend:
    try:
        parsed = make_url(url)
        made = _BACKENDS.get(parsed.get_backend_name())
        if made is not None:
            return made(parsed)
    except (ArgumentError, ValueError):
        # What they say may quote a part of the password.
        raise StoreError("the store's url is none; write sqlite:////PATH or postgresql://USER@HOST/DATABASE") from None
    raise StoreError(f"the store's url begins with {parsed.drivername!r}; use sqlite: or postgresql:")


def _vault(backend: Backend, key_file: Path) -> Vault:
    """The vault with the key that has sealed what is in the store; a new one only for a store that has none."""
    with read(backend) as connection:
        proof = _proof(connection)
    if proof is None:
        with write(backend) as connection:
            proof = _proof(connection) or _take_key(connection, key_file)
    return _vault_that_opens(proof, key_file)


def _vault_that_opens(sealed: bytes, key_file: Path) -> Vault:
    if not key_file.exists():
        raise StoreError(
            f"the store's key {key_file} is missing, and what is sealed in the database opens with no other. "
            "Put it back from your backup"
        )
    vault = Vault.existing(key_file)
    try:
        vault.open(sealed)
    except StoreError as error:
        raise StoreError(f"{key_file} is not the key that this store was made with; put that one there") from error
    return vault


def _proof(connection: Connection) -> bytes | None:
    return connection.execute(select(key_proof.c.sealed)).scalar()


def _take_key(connection: Connection, key_file: Path) -> bytes:
    """Make a proof of the key, and the key where there is none and nothing that another one has sealed."""
    secret = _any_secret(connection)
    vault = Vault.at(key_file) if secret is None else _vault_that_opens(secret, key_file)
    sealed = vault.seal(_PROOF)
    connection.execute(insert(key_proof).values(id=1, sealed=sealed))
    return sealed


def _any_secret(connection: Connection) -> bytes | None:
    """Something sealed, of a store that has lost its proof."""
    for column in (access_key.c.secret, certificate.c.private_key, endpoint.c.control_channel_keys):
        found: bytes | None = connection.execute(select(column).where(column.is_not(None)).limit(1)).scalar()
        if found is not None:
            return found
    return None
