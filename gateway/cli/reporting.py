"""How a command tells a person that it failed: a sentence on standard error, exit status 1, never a traceback."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import typer

from gateway.journal import leads_to_journal, with_level

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fail", "failing_with_sentences", "say"]


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
