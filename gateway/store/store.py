"""Transactions. Every other module of the gateway reaches the database through these two methods."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from gateway.store.errors import StoreUnavailableError
from gateway.store.schema import change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from gateway.store.vault import Vault

__all__ = ["WRITES", "Store"]

WRITES = "portway_writes"
"""The execution option of a connection whose transaction writes."""

_WRITERS = 0x706F7274
"""The advisory lock that writers take with PostgreSQL: one at a time, as with SQLite."""


class Store:
    """The database, with its schema in place."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        """`gateway.store.open_store` makes one."""
        self.engine = engine
        self.vault = vault

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one state of the store. Raises `StoreUnavailableError`."""
        with _explained(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, affects_gateways: bool = True) -> Iterator[Connection]:
        """A transaction that is alone among writers; committed at the end, undone by whatever is raised inside.

        With `affects_gateways` the change counter grows, and gateways look. Raises `StoreUnavailableError`.
        """
        with _explained(), self.engine.connect() as connection:
            connection.execution_options(**{WRITES: True})
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITERS})
                yield connection
                _mark(connection, affects_gateways)

    def counter(self) -> int:
        """How many changes gateways have to know of so far."""
        with self.read() as connection:
            return int(connection.execute(select(change.c.counter)).scalar_one())

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def _mark(connection: Connection, affects_gateways: bool) -> None:
    if affects_gateways:
        connection.execute(update(change).values(counter=change.c.counter + 1))
        if connection.dialect.name == "postgresql":
            connection.execute(text("NOTIFY portway_change"))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise StoreUnavailableError(f"the database does not answer: {error.orig}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailableError(f"the database is gone: {error.orig}") from error
        raise
