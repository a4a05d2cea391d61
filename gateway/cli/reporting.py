"""How a command tells what it has to tell: documents to programs on standard output, and sentences to people.

One that failed says so on standard error, with exit status 1, and never by a traceback.
"""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from gateway.journal import leads_to_journal, with_level

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fail", "failing_with_sentences", "print_json", "say"]


def say(text: str) -> None:
    """Say something that is not the command's output, on standard error."""
    typer.echo(text, err=True)


def fail(text: str) -> typer.Exit:
    """Say why the command fails; to be raised."""
    say(with_level(text, "error") if _is_in_journal() else text)
    return typer.Exit(1)


@contextlib.contextmanager
def failing_with_sentences(*expected: type[Exception]) -> Iterator[None]:
    """Turn the exceptions of a kind, whose texts are sentences, into an exit with status 1."""
    try:
        yield
    except expected as error:
        raise fail(str(error)) from None


def _is_in_journal() -> bool:
    try:
        return leads_to_journal(sys.stderr.fileno())
    except OSError:  # a stream of a test's, which is no file
        return False


def print_json(document: Any) -> None:
    """Print a document for programs; times as ISO 8601 has them."""
    typer.echo(json.dumps(document, indent=2, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
