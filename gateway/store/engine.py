"""Opening the store: the engine for each database, and the schema brought up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, insert, make_url, select
from sqlalchemy.exc import ArgumentError

from gateway.store.errors import StoreError
from gateway.store.schema import change, metadata
from gateway.store.store import WRITES, Store
from gateway.store.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

__all__ = ["open_store"]

_BUSY_MS = 10_000
"""How long a writer waits for another with SQLite."""


def open_store(url: str, key_file: Path) -> Store:
    """Open the database, making or migrating its tables. Raises `StoreError`.

    `url` is SQLAlchemy's: `sqlite:////var/lib/portway/portway.db` or `postgresql://user@host/database`.
    """
    store = Store(_engine(_parse(url)), Vault.at(key_file))
    metadata.create_all(store.engine)
    with store.write(affects_gateways=False) as connection:
        if connection.execute(select(change.c.id)).first() is None:
            connection.execute(insert(change).values(id=1, counter=0))
    return store


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(f"the store's url is none: {error}") from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"the store's url begins with {parsed.drivername!r}; use sqlite: or postgresql:")
    return parsed.set(drivername="postgresql+psycopg") if parsed.get_backend_name() == "postgresql" else parsed


def _engine(url: URL) -> Engine:
    engine = create_engine(url, pool_pre_ping=True)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # else the driver begins transactions where it sees fit
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
