"""What is wrong with a spec, as values: where, what, and what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

__all__ = ["Problem", "Severity", "error", "name_hint", "repeats", "warning"]


class Severity(enum.Enum):
    """Whether a spec with this problem may be applied."""

    ERROR = "error"
    """It may not: the gateway would not start, or would do something that nobody can want."""
    WARNING = "warning"
    """It may, but something in it has no effect or will surprise."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem."""

    key_path: str
    """The place in the configuration file's words, list items counted from 0: `endpoint[0].route[2].destination`."""
    text: str
    """A sentence or two: what is wrong and what to do."""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        return f"{self.key_path}: {self.text}"


def error(key_path: str, text: str) -> Problem:
    """A problem that keeps a spec from being applied."""
    return Problem(key_path, text)


def warning(key_path: str, text: str) -> Problem:
    """A problem that an administrator should know of."""
    return Problem(key_path, text, Severity.WARNING)


def repeats(values: Iterable[Hashable]) -> set[int]:
    """The indexes of values that came before: where a duplicate is best pointed at."""
    seen: set[Hashable] = set()
    indexes = set()
    for index, value in enumerate(values):
        if value in seen:
            indexes.add(index)
        seen.add(value)
    return indexes


def name_hint(name: str, known: Collection[str]) -> str:
    """What to say of an unknown name: the nearest known one, in whatever case, or all of them."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    near = get_close_matches(name.casefold(), by_folded, n=1)
    return f'Did you mean "{by_folded[near[0]]}"?' if near else f"Use one of: {', '.join(known)}."
