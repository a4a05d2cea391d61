"""Tables and records on a terminal, out of the API's replies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["Column", "print_record", "print_table", "table_of"]

Column = tuple[str, str | Callable[[Mapping[str, Any]], str]]
"""A title, and the member that stands under it: `Status.Code` for one inside another, or a function of the row."""

WIDTH_IN_FILES = 300
"""Columns, where nobody's terminal sets a limit: ids must not be cut short."""


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print a row for each record."""
    _console().print(table_of(rows, columns))


def table_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Table:
    """A table with a row for each record."""
    table = Table(*(title for title, _ in columns), box=None)
    for row in rows:
        table.add_row(*(_cell(row, source) for _, source in columns))
    return table


def print_record(record: Mapping[str, Any]) -> None:
    """Print each member of a record on a line of its own."""
    table = Table(show_header=False, box=None)
    for name, value in _flattened(record):
        table.add_row(name, value)
    _console().print(table)


def _console() -> Console:
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_FILES)


def _cell(row: Mapping[str, Any], source: str | Callable[[Mapping[str, Any]], str]) -> str:
    if not isinstance(source, str):
        return source(row)
    value: Any = row
    for member in source.split("."):
        value = value.get(member) if isinstance(value, Mapping) else None
    return _text(value)


def _flattened(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            lines += _flattened(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for position, item in enumerate(value, 1):
                lines += _flattened(item, f"{prefix}{name}[{position}].")
        else:
            lines.append((f"{prefix}{name}", _text(value)))
    return lines


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return str(value)
