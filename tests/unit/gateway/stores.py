"""Stores for tests: on SQLite and on PostgreSQL, each test with an empty one of its own, made by copying."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from gateway.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.postgres import Postgres

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

    @property
    def url(self) -> str:
        return self.server.url(self.database)

    @property
    def key_file(self) -> Path:
        return self.directory / "store.key"

    def open(self) -> Store:
        return open_store(self.url, self.key_file)

    def remove(self) -> None:
        self.server.drop_database(self.database)


class StoreTemplates:
    """What the stores of a test session are copied from, each made when it is first asked for."""

    def __init__(self, directory: Path, server: Callable[[], Postgres]) -> None:
        self._directory = directory
        self._start_server = server

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
        return PostgresSite(self.server, self.server.create_database(template=self._postgres.database), directory)

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
