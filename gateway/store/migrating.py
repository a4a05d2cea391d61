"""Brings the tables of a store up to date, in one transaction of a writer: all of it happens, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import column, inspect, select, table

from gateway.store.errors import StoreError
from gateway.store.migrations import HEAD

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["is_current", "migrate"]

_DIRECTORY = Path(__file__).parent / "migrations"
_VERSION = table("alembic_version", column("version_num"))


def is_current(connection: Connection) -> bool:
    """Whether the tables are those that this program works with."""
    return _version(connection) == HEAD


def migrate(connection: Connection) -> None:
    """Carry out the steps that are missing. Raises `StoreError` where the store is newer than the program."""
    # Alembic takes longer to import than everything else here, and most starts do without it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_DIRECTORY).replace("%", "%%"))
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    version = _version(connection)
    if version is not None and version not in known:
        raise StoreError(
            f"the store was last used by a newer Portway: its tables are of version {version}, "
            f"and this program knows them up to {HEAD}. Run the newer one, or restore a copy from before."
        )
    command.upgrade(config, HEAD)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(select(_VERSION.c.version_num)).scalar()
