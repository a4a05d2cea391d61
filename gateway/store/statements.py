"""Statements about very many rows: a database bounds how many parameters one of them may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import ColumnElement, Connection, Row, Select

__all__ = ["AT_ONCE", "rows_among"]

AT_ONCE: Final = 1000
"""Values in one statement: SQLite may allow 32,766, PostgreSQL 65,535, and a plan for fewer is found sooner."""


def rows_among(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], values: Collection[Any]
) -> Iterator[Row[Any]]:
    """The rows in which a column has one of these values, however many; in the query's order for each value."""
    wanted = tuple(values)
    for start in range(0, len(wanted), AT_ONCE):
        yield from connection.execute(query.where(column.in_(wanted[start : start + AT_ONCE])))
