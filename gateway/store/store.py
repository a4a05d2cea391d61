"""Transactions. Every other module of the gateway reaches the database through these two methods."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import exc, select, update

from gateway.store.backend import WRITE_WAIT_S
from gateway.store.errors import StoreUnavailableError
from gateway.store.schema import change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from gateway.store.backend import Backend, Lease
    from gateway.store.vault import Vault

__all__ = ["Store", "read", "write"]

_CLOSE_WAIT_S = 3.0


class Store:
    """The database, with its schema in place."""

    def __init__(self, backend: Backend, vault: Vault) -> None:
        """`gateway.store.open_store` makes one."""
        self.backend = backend
        self.vault = vault
        self._writing = threading.Lock()
        self._in_use = 0
        self._unused = threading.Condition()

    @property
    def engine(self) -> Engine:
        """The connections to the database."""
        return self.backend.engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the store, and cannot write. Raises `StoreUnavailableError`."""
        with self._used(), read(self.backend) as connection:
            yield connection

    @contextmanager
    def write(self, *, affects_gateways: bool = True) -> Iterator[Connection]:
        """A transaction that is alone among writers; committed at the end, undone by whatever is raised inside.

        With `affects_gateways` the change counter grows, and gateways look. Raises `StoreUnavailableError`; one that
        is raised at the end leaves open whether the transaction happened.
        """
        with self._used(), self._turn(), write(self.backend) as connection:
            yield connection
            if affects_gateways:
                self.mark_changed(connection)

    def mark_changed(self, connection: Connection) -> None:
        """Have gateways look when this transaction commits, for who knows only at its end whether they have to."""
        connection.execute(update(change).values(counter=change.c.counter + 1))
        self.backend.announce(connection)

    def counter(self) -> int:
        """How many changes gateways have to know of so far."""
        with self.read() as connection:
            return int(connection.execute(select(change.c.counter)).scalar_one())

    def lease(self, node: str) -> Lease:
        """Take the place of the gateway of this name. Raises `NameTakenError` or `StoreUnavailableError`."""
        return self.backend.lease(node)

    def close(self) -> None:
        """Let go of all connections, once transactions that were left to their threads have ended, if that is soon."""
        with self._unused:
            self._unused.wait_for(lambda: not self._in_use, timeout=_CLOSE_WAIT_S)
        self.engine.dispose()

    @contextmanager
    def _used(self) -> Iterator[None]:
        with self._unused:
            self._in_use += 1
        try:
            yield
        finally:
            with self._unused:
                self._in_use -= 1
                self._unused.notify_all()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Threads of one process queue up here: with no connection in hand, and woken when it is their turn."""
        if not self._writing.acquire(timeout=WRITE_WAIT_S):
            raise StoreUnavailableError(f"others in this process have been writing for more than {WRITE_WAIT_S} s")
        try:
            yield
        finally:
            self._writing.release()


@contextmanager
def read(backend: Backend) -> Iterator[Connection]:
    """A transaction that only reads. Raises `StoreError`."""
    with _explained(backend), backend.engine.connect() as connection:
        connection.execution_options(**backend.read_options)
        with connection.begin():
            yield connection


@contextmanager
def write(backend: Backend) -> Iterator[Connection]:
    """A transaction that writes, alone among processes. Raises `StoreError`."""
    with _explained(backend), backend.engine.connect() as connection:
        connection.execution_options(**backend.write_options)
        with connection.begin():
            backend.be_alone(connection)
            yield connection


@contextmanager
def _explained(backend: Backend) -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        if explanation := backend.explain(error):
            raise explanation from error
        raise
    except exc.TimeoutError as error:
        raise StoreUnavailableError("all connections to the database have been in use for too long") from error
