"""The store in PostgreSQL: for several gateways, or where one database server serves a whole house."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg
import trio
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.store.backend import ENGINE_OPTIONS, WRITE_WAIT_S, detached_connection
from gateway.store.errors import NameTakenError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DBAPIError

__all__ = ["PostgresqlBackend"]

_WRITERS: Final = 0x706F7274
"""The advisory lock that writers take: one at a time, as with SQLite."""
_SPEAKER: Final = 0x706F7275
"""The advisory lock of the gateway that says how objects fare."""
_NAMES: Final = 0x706F7276
"""The class of the advisory locks of names; each name's number is its hash."""
_NAME_WAIT_S: Final = 3
"""How long a gateway waits for its name: the server may take a moment to see that the last one is dead."""
_ANSWER_S: Final = 0.1
_CHANNEL: Final = "portway_change"
_STATEMENT_S: Final = 30
_LOOK_EVERY_S: Final = 5
"""At the longest, should a notification or the connection be lost without a word."""

_CONNECT: Final[Mapping[str, str | int]] = {
    "application_name": "portway",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "target_session_attrs": "read-write",
}
"""libpq's parameters, unless the URL has them: a server that is no longer there is not waited for, and of several hosts
in the URL it is the primary that is used."""

_SETTINGS: Final = {
    "statement_timeout": f"{_STATEMENT_S}s",
    "lock_timeout": f"{WRITE_WAIT_S}s",
    # A gateway that froze or lost its network must not keep the others from writing.
    "idle_in_transaction_session_timeout": f"{_STATEMENT_S}s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

_SENTENCES: Final = {
    "25006": "the database only accepts reads now",
    "53100": "the database server has no space left; make room there",
    "53300": "the database server has no connections left; raise its max_connections",
    "55P03": f"another gateway or command has been writing for more than {WRITE_WAIT_S} s",
    "57014": f"the database took more than {_STATEMENT_S} s for one statement",
}
"""By SQLSTATE (PostgreSQL's documentation, appendix A)."""

_HOLDER: Final = """
SELECT host(client_addr) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s AND database = datid
"""

_SECRETS: Final = ("password", "sslpassword")


class PostgresqlBackend:
    """A database of a server."""

    read_options: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    # Whatever the server's default is: a snapshot from before the lock would miss what the last writer did.
    write_options: Mapping[str, Any] = {"isolation_level": "READ COMMITTED"}

    def __init__(self, url: URL) -> None:
        """Raises `StoreError`."""
        if any(secret in url.query for secret in _SECRETS):
            raise StoreError("the store's url has a password after the '?'; put it before the '@', or into ~/.pgpass")
        parameters = {name: value for name, value in _CONNECT.items() if name not in url.query}
        self.engine: Engine = create_engine(
            url.set(drivername="postgresql+psycopg"), connect_args=parameters, pool_pre_ping=True, **ENGINE_OPTIONS
        )
        event.listen(self.engine, "connect", _prepare)

    def be_alone(self, connection: Connection) -> None:
        """Take the lock of writers, which ends with the transaction."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITERS})

    def announce(self, connection: Connection) -> None:
        """Notify, which PostgreSQL does at the commit."""
        connection.exec_driver_sql(f"NOTIFY {_CHANNEL}")

    def explain(self, error: DBAPIError) -> StoreError | None:
        """By SQLSTATE; by what the driver says where there is none."""
        state = getattr(error.orig, "sqlstate", None)
        if sentence := _SENTENCES.get(state or ""):
            return StoreUnavailableError(sentence)
        if error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError):
            return StoreUnavailableError(f"the database does not answer: {_first_line(error.orig)}")
        return None

    def lease(self, node: str) -> PostgresqlLease:
        """Take the name, which has to be free. Raises `NameTakenError` or `StoreUnavailableError`."""
        try:
            return PostgresqlLease(self.engine, node)
        except (psycopg.Error, SQLAlchemyError) as error:
            raise StoreUnavailableError(f"the database does not answer: {_first_line(error)}") from error

    def change_signal(self) -> PostgresqlChangeSignal:
        """Begin to listen. Raises `StoreUnavailableError`."""
        try:
            return PostgresqlChangeSignal(self.engine)
        except (psycopg.Error, SQLAlchemyError) as error:
            raise StoreUnavailableError(f"the database does not answer: {_first_line(error)}") from error


class PostgresqlLease:
    """Advisory locks of a session of its own: the server releases them when that session ends, however it ends."""

    def __init__(self, engine: Engine, node: str) -> None:
        """Raises `NameTakenError`, and what the driver raises."""
        self._connection: psycopg.Connection = detached_connection(engine)
        self._asking = threading.Lock()
        self._speaks = False
        try:
            self._connection.autocommit = True
            self._take(node, int.from_bytes(hashlib.sha256(node.encode()).digest()[:4]) >> 1)
        except BaseException:
            self.close()
            raise

    def speaks(self) -> bool:
        """The first to ask is, until its session ends. Raises `StoreUnavailableError`."""
        if not self._speaks:
            try:
                self._speaks = bool(self._ask("SELECT pg_try_advisory_lock(%s)", _SPEAKER)[0])
            except psycopg.Error as error:
                raise StoreUnavailableError(f"the database is gone: {_first_line(error)}") from error
        return self._speaks

    async def wait_lost(self) -> None:
        """Return when the session has ended."""
        while not self._is_lost():
            await trio.lowlevel.wait_readable(self._connection.pgconn.socket)
            await trio.sleep(_ANSWER_S)  # an answer to a question of `speaks` is for the thread that asked

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def _take(self, node: str, number: int) -> None:
        self._connection.execute(f"SET lock_timeout = '{_NAME_WAIT_S}s'".encode())
        try:
            self._ask("SELECT pg_advisory_lock(%s, %s)", _NAMES, number)
        except psycopg.errors.LockNotAvailable as error:
            holder = self._ask(_HOLDER, _NAMES, number)
            place = f"from {holder[0]}" if holder and holder[0] else "on the database's own host"
            raise NameTakenError(
                f'another gateway that is called "{node}", {place}, works from this database. Give each gateway a name '
                "of its own: [gateway] node"
            ) from error

    def _ask(self, question: LiteralString, *values: object) -> Any:
        with self._asking:
            return self._connection.execute(question, values).fetchone()

    def _is_lost(self) -> bool:
        """Looks at what has arrived, unless a thread is doing so."""
        if not self._asking.acquire(blocking=False):
            return False
        try:
            self._connection.pgconn.consume_input()
        except psycopg.Error:
            return True
        finally:
            self._asking.release()
        return self._connection.closed


class PostgresqlChangeSignal:
    """Listens for the notifications of writers, without a thread."""

    def __init__(self, engine: Engine) -> None:
        self._connection: psycopg.Connection = detached_connection(engine)
        try:
            self._connection.autocommit = True
            self._connection.execute(f"LISTEN {_CHANNEL}".encode())
        except BaseException:
            self.close()
            raise

    async def wait(self) -> None:
        """Return when somebody has notified, or it is time to look anyway. Raises `StoreUnavailableError`."""
        with trio.move_on_after(_LOOK_EVERY_S):
            while not self._notified():
                await trio.lowlevel.wait_readable(self._connection.pgconn.socket)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _notified(self) -> bool:
        """Whether there are notifications among what has arrived; takes all of them."""
        server = self._connection.pgconn
        try:
            server.consume_input()
        except psycopg.Error as error:
            raise StoreUnavailableError(f"the database is gone: {_first_line(error)}") from error
        notified = False
        while server.notifies():
            notified = True
        return notified


def _prepare(connection: Any, _record: object) -> None:
    settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SETTINGS.items())
    connection.execute(f"SELECT {settings}")
    connection.commit()


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0]
