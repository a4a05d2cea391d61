"""Statements for many rows at a time, at little more than what the database takes for them.

    statement ▶ compiled once for each engine ▶ SQL with positions ▶ the driver, with rows as plain tuples

SQLAlchemy makes a dictionary of each row and looks at each value; beside SQLite, which takes five microseconds for a
row, that is most of the work. The price is that values are the driver's: JSON comes as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Dialect

__all__ = ["ManyRows"]

_ENGINES: Final[Mapping[str, tuple[Dialect, Callable[[Any], Any]]]] = {
    "sqlite": (sqlite.dialect(paramstyle="qmark"), sqlite.insert),
    "postgresql": (psycopg.dialect(paramstyle="format"), postgresql.insert),  # type: ignore[no-untyped-call]
}


class ManyRows:
    """One statement, for any number of rows."""

    def __init__(self, columns: Sequence[str], build: Callable[[Any], Any]) -> None:
        """`columns` are the statement's parameters, in the order in which the rows have them.

        `build` makes the statement; it gets the engine's own `insert`, which knows ON CONFLICT. Constants in it are to
        be literal, since parameters are all from rows.
        """
        self._columns = list(columns)
        self._build = build
        self._sql: dict[str, str] = {}

    def execute(self, transaction: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Carry it out for each row; there has to be one."""
        engine = transaction.dialect.name
        sql = self._sql.get(engine) or self._sql.setdefault(engine, self._compile(engine))
        transaction.exec_driver_sql(sql, rows)

    def _compile(self, engine: str) -> str:
        dialect, insert = _ENGINES[engine]
        statement = self._build(insert)
        compiled = statement.compile(dialect=dialect, column_keys=self._columns if statement.is_insert else None)
        if compiled.positiontup != self._columns:
            raise ValueError(f"the statement has the parameters {compiled.positiontup}, and rows {self._columns}")
        return str(compiled)
