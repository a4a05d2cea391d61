"""The store in a file. Several processes share it: write-ahead logging lets readers go on beside the one writer."""

from __future__ import annotations

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import trio
from sqlalchemy import create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from gateway.file_lock import LockHeldError, lock_file
from gateway.store.backend import ENGINE_OPTIONS, WRITE_WAIT_S, detached_connection
from gateway.store.errors import NameTakenError, StoreError, StoreUnavailableError
from gateway.store.file_events import FileEvents
from gateway.store.private_files import make_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DBAPIError

__all__ = ["SqliteBackend"]

_WRITES: Final = "portway_writes"
_MAIN_FILE: Final = "SELECT file FROM pragma_database_list WHERE name = 'main'"
_LOOK_FIRST_S: Final = 0.005
"""After somebody has begun to write: what is written is to be seen once it is on the disk, of which nobody tells. Twice
as long after each look, so that a change is noticed at the latest after as long again as its commit takes."""
_LOOK_EVERY_S: Final = 5.0
"""Where nobody has written."""
_LOOK_UNTOLD_S: Final = 0.2
"""Where the host does not tell of writing."""

_MAY_PASS: Final = {
    "SQLITE_BUSY": f"another process has been writing to {{path}} for more than {WRITE_WAIT_S} s",
    "SQLITE_LOCKED": "another connection holds a table of {path}",
    "SQLITE_FULL": "no space is left for {path}; make room on its file system",
    "SQLITE_READONLY": "{path} can only be read; see its owner and mode, and how its file system is mounted",
    "SQLITE_IOERR": "the host cannot read or write {path}; see its kernel log",
    "SQLITE_CANTOPEN": "{path} cannot be opened; see that it and its directory are there and belong to this user",
    "SQLITE_PERM": "{path} cannot be opened by this user",
    "SQLITE_PROTOCOL": "the locks of {path} do not work; it must not be on a network file system",
}
_STAYS: Final = {
    "SQLITE_CORRUPT": "{path} is damaged; restore it from a copy",
    "SQLITE_NOTADB": "{path} is no SQLite database; name another file, or move that one away",
}


class SqliteBackend:
    """A file, made where there is none."""

    read_options: Mapping[str, Any] = {}
    write_options: Mapping[str, Any] = {_WRITES: True}

    def __init__(self, url: URL) -> None:
        """Raises `StoreError`."""
        if url.database in (None, "", ":memory:"):
            raise StoreError("the store cannot be in memory: several processes use it; name a file, sqlite:////PATH")
        self._path = Path(url.database)
        if "uri" not in url.query:
            _put_in_place(self._path)
        self.engine: Engine = create_engine(url, **ENGINE_OPTIONS)
        event.listen(self.engine, "connect", _prepare)
        event.listen(self.engine, "begin", _begin)

    def be_alone(self, connection: Connection) -> None:
        """Nothing: `BEGIN IMMEDIATE` has waited already."""

    def announce(self, connection: Connection) -> None:
        """Nothing: whoever waits for changes sees the file change."""

    def explain(self, error: DBAPIError) -> StoreError | None:
        """By SQLite's result code (https://www.sqlite.org/rescode.html), of which extended ones are refinements."""
        name = getattr(error.orig, "sqlite_errorname", "")
        for kind, sentences in ((StoreUnavailableError, _MAY_PASS), (StoreError, _STAYS)):
            for code, sentence in sentences.items():
                if name == code or name.startswith(f"{code}_"):
                    return kind(sentence.format(path=self._path))
        return None

    def lease(self, node: str) -> SqliteLease:
        """Take the file for this gateway, whatever its name: several need a server. Raises `StoreError`."""
        del node
        with self.engine.connect() as connection:
            path = Path(connection.exec_driver_sql(_MAIN_FILE).scalar_one())
        try:
            return SqliteLease(lock_file(path.with_name(f"{path.name}-gateway")))
        except LockHeldError as error:
            raise NameTakenError(
                f"{error.holder} works from {path}. Give each its own, or let them meet in PostgreSQL: [store] url"
            ) from error
        except OSError as error:
            raise StoreUnavailableError(f"{path}-gateway cannot be used: {error.strerror}") from error

    def change_signal(self) -> SqliteChangeSignal:
        """Begin to notice changes. Raises `StoreUnavailableError`."""
        try:
            return SqliteChangeSignal(self.engine)
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise StoreUnavailableError(f"{self._path} cannot be watched: {error}") from error


class SqliteLease:
    """A lock in a file beside the database's."""

    def __init__(self, file: IO[str]) -> None:
        """Takes over a file that is locked."""
        self._file = file

    def speaks(self) -> bool:
        """There is nobody else."""
        return True

    async def wait_lost(self) -> None:
        """Never: the kernel takes it from nobody who lives."""
        await trio.sleep_forever()

    def close(self) -> None:
        """Give it back."""
        self._file.close()


class SqliteChangeSignal:
    """Looks at the number that SQLite changes whenever another connection has written.

    To look costs a trip to a thread, so it is done when the kernel says that the write-ahead log is being written to,
    for a while; which is told of every process, since what SQLite maps into memory it does not write through there.
    """

    def __init__(self, engine: Engine) -> None:
        self._connection: sqlite3.Connection = detached_connection(engine)
        self._events: FileEvents | None = None
        try:
            self._seen = self._version()  # with that, the log is there
            with contextlib.suppress(OSError):
                self._events = FileEvents(_log_of(self._connection))
        except BaseException:
            self._connection.close()
            raise
        self._most_s = _LOOK_EVERY_S if self._events else _LOOK_UNTOLD_S
        self._pause_s = _LOOK_FIRST_S

    async def wait(self) -> None:
        """Return when somebody has written. Raises `StoreUnavailableError`."""
        while True:
            await self._wait_for_a_reason()
            if await trio.to_thread.run_sync(self._has_moved):
                return

    def close(self) -> None:
        """Close the connection."""
        events, self._events = self._events, None
        if events is not None:
            events.close()
        self._connection.close()

    async def _wait_for_a_reason(self) -> None:
        """Until there may be something to see: it has just been written, or it is time."""
        before, self._pause_s = self._pause_s, min(2 * self._pause_s, self._most_s)
        if self._events is None:
            await trio.sleep(before)
            return
        with trio.move_on_after(before):
            await self._events.wait()
            self._pause_s = 2 * _LOOK_FIRST_S
            await trio.sleep(_LOOK_FIRST_S)

    def _has_moved(self) -> bool:
        before, self._seen = self._seen, self._version()
        return self._seen != before

    def _version(self) -> int:
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"the store cannot be watched: {error}") from error


def _log_of(connection: sqlite3.Connection) -> Path:
    path = Path(connection.execute(_MAIN_FILE).fetchone()[0])
    return path.with_name(f"{path.name}-wal")


def _put_in_place(path: Path) -> None:
    try:
        if not path.exists():
            make_private(path, _make_database)
        elif path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"the store {path} cannot be made: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StoreError(f"the store {path} cannot be made: {error}") from error


def _make_database(path: Path) -> None:
    # Two processes that both turn write-ahead logging on do not wait for each other, and one fails.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # else the driver begins transactions where it sees fit
    busy_ms = WRITE_WAIT_S * 1000
    for pragma in (f"busy_timeout={busy_ms}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
