"""Stores for tests: on SQLite and on PostgreSQL, each test with an empty one of its own.

With SQLite that is a copy. With PostgreSQL it is a database that an earlier test has left, and that is emptied: to make
one takes a hundred times as long.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import psycopg

from gateway.store import Store, open_store
from gateway.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.postgres import Postgres

_KEPT = ("change", "key_proof")
_EMPTY = "; ".join(
    (
        "SET lock_timeout = 1000",
        *(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables) if table.name not in _KEPT),
        "UPDATE change SET counter = 0",
        *(f"ALTER SEQUENCE {table}_id_seq RESTART" for table in ("audit", "connection_event")),
    )
)
_VERSION = "SELECT version_num FROM alembic_version"

__all__ = ["PostgresSite", "SqliteSite", "StoreSite", "StoreTemplates"]


class StoreSite(Protocol):
    """A place where a store is, or can be made."""

    @property
    def url(self) -> str: ...

    @property
    def key_file(self) -> Path: ...

    def open(self) -> Store: ...

    def remove(self) -> None: ...


@dataclass(frozen=True)
class SqliteSite:
    """A store in a file."""

    directory: Path

    @property
    def path(self) -> Path:
        return self.directory / "portway.db"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    @property
    def key_file(self) -> Path:
        return self.directory / "store.key"

    def open(self) -> Store:
        return open_store(self.url, self.key_file)

    def remove(self) -> None:
        """The directory is the test's, and goes with it."""


@dataclass(frozen=True)
class PostgresSite:
    """A store in a database of a server."""

    server: Postgres
    database: str
    directory: Path
    give_back: Callable[[str], None] | None = None
    """Takes the database when the test has ended; without it the database is dropped."""

    @property
    def url(self) -> str:
        return self.server.url(self.database)

    @property
    def key_file(self) -> Path:
        return self.directory / "store.key"

    def open(self) -> Store:
        return open_store(self.url, self.key_file)

    def remove(self) -> None:
        if self.give_back is None:
            self.server.drop_database(self.database)
        else:
            self.give_back(self.database)


class StoreTemplates:
    """What the stores of a test session are copied from, each made when it is first asked for."""

    def __init__(self, directory: Path, server: Callable[[], Postgres]) -> None:
        self._directory = directory
        self._start_server = server
        self._left: list[str] = []

    def blank(self, engine: str, directory: Path) -> StoreSite:
        """Where nothing has been made yet; `engine` is 'sqlite' or 'postgresql'."""
        if engine == "sqlite":
            return SqliteSite(directory)
        return PostgresSite(self.server, self.server.create_database(), directory)

    def migrated(self, engine: str, directory: Path) -> StoreSite:
        """Where the tables are, and empty."""
        if engine == "sqlite":
            site = SqliteSite(directory)
            shutil.copy(self._sqlite.path, site.path)
            shutil.copy(self._sqlite.key_file, site.key_file)
            return site
        shutil.copy(self._postgres.key_file, directory)
        return PostgresSite(self.server, self._emptied() or self._copied(), directory, self._left.append)

    def _copied(self) -> str:
        return self.server.create_database(template=self._postgres.database)

    def _emptied(self) -> str | None:
        """A database that another test is done with; None where there is none that can be had at once."""
        if not self._left:
            return None
        database = self._left.pop()
        try:
            with psycopg.connect(self.server.url(database), autocommit=True) as connection:
                connection.execute(_EMPTY)
                is_as_made = connection.execute(_VERSION).fetchone() == self._version
        except psycopg.Error:  # the test was done with it, and something of it was not
            is_as_made = False
        if not is_as_made:
            self.server.drop_database(database)
        return database if is_as_made else None

    @cached_property
    def _version(self) -> object:
        with psycopg.connect(self.server.url(self._postgres.database)) as connection:
            return connection.execute(_VERSION).fetchone()

    @cached_property
    def server(self) -> Postgres:
        return self._start_server()

    @cached_property
    def _sqlite(self) -> SqliteSite:
        site = SqliteSite(self._directory / "sqlite")
        site.open().close()
        return site

    @cached_property
    def _postgres(self) -> PostgresSite:
        site = PostgresSite(self.server, self.server.create_database(), self._directory / "postgresql")
        site.open().close()
        return site
