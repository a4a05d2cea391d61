"""What differs between databases: how they are reached, how a transaction begins, and what their errors mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import DBAPIError

    from gateway.store.errors import StoreError

__all__ = ["ENGINE_OPTIONS", "WRITE_WAIT_S", "Backend", "ChangeSignal", "Lease", "detached_connection"]

WRITE_WAIT_S: Final = 10
"""How long a writer waits for the others."""

ENGINE_OPTIONS: Final[Mapping[str, Any]] = {
    "pool_size": 10,
    "max_overflow": 0,
    "pool_timeout": 10,
    "hide_parameters": True,  # of statements that fail: some are secrets
}
"""For `sqlalchemy.create_engine`, whatever the database."""


class ChangeSignal(Protocol):
    """A connection of its own that notices when somebody has written."""

    async def wait(self) -> None:
        """Return when the change counter may have moved. Raises `StoreUnavailableError` when the connection is lost."""

    def close(self) -> None:
        """Let go of the connection. May block for a moment; may be called once."""


class Lease(Protocol):
    """A gateway's place in the store: its name, held for as long as its process lives, by no clock.

    The kernel or the database server takes it back, at the moment when the process is gone or its connection is.
    """

    def speaks(self) -> bool:
        """Whether this gateway is the one of all that says how objects fare; another one is when it has gone.

        Blocks. Raises `StoreUnavailableError`.
        """

    async def wait_lost(self) -> None:
        """Return when it is held no longer."""

    def close(self) -> None:
        """Give it back. May block for a moment; may be called once."""


class Backend(Protocol):
    """One database, as the store needs it. All of it blocks, except `ChangeSignal.wait`."""

    @property
    def engine(self) -> Engine:
        """Its connections."""

    @property
    def read_options(self) -> Mapping[str, Any]:
        """The execution options of a connection for a transaction that reads."""

    @property
    def write_options(self) -> Mapping[str, Any]:
        """The execution options of a connection for a transaction that writes."""

    def be_alone(self, connection: Connection) -> None:
        """Wait until no other process writes, at the beginning of a transaction that writes."""

    def announce(self, connection: Connection) -> None:
        """Let those who wait for changes know, once the transaction is committed."""

    def explain(self, error: DBAPIError) -> StoreError | None:
        """What to tell an administrator; None for what only a mistake in the program can cause."""

    def lease(self, node: str) -> Lease:
        """Take the place of the gateway of this name. Raises `NameTakenError` or `StoreUnavailableError`."""

    def change_signal(self) -> ChangeSignal:
        """Begin to notice changes: none that is committed from now on is missed. Raises `StoreUnavailableError`."""


def detached_connection(engine: Engine) -> Any:
    """A driver's connection that the pool no longer knows, for whoever keeps it. Raises what the driver raises."""
    lent = engine.raw_connection()
    connection = lent.driver_connection
    lent.detach()
    return connection
