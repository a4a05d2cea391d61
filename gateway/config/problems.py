"""What is wrong with a configuration, as sentences for the person who wrote it.

Owns the records that carry such sentences. Must not know how a configuration is read or checked.

    ConfigError      the file cannot be used; carries every problem that was found
    WrongValue       raised while one value is checked; `reading` turns it into problems with their key path
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policy import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ConfigError", "Problem", "WrongValue", "refuse"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and what to do about it."""

    key_path: str
    """As `endpoint[0].client_cidr_block`; empty where the whole file is meant."""
    text: str
    """A sentence or two."""
    where: str = ""
    """What the list position in the key path stands for, as `endpoint "main"`; empty where that is not known."""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.key_path} ({self.where})" if self.where else self.key_path
        return f"{place}: {self.text}" if place else self.text


class ConfigError(Exception):
    """A configuration cannot be used. Its text has one line per problem."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """`problems` holds everything that was found, in the order of the file's sections."""
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class WrongValue(ValueError):  # noqa: N818 - it is the value that is wrong
    """A value has the right type, yet cannot be used; each sentence is said of the key that holds it."""

    def __init__(self, *sentences: str) -> None:
        """Each of `sentences` becomes a `Problem` of its own."""
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def refuse(sentences: Iterable[str]) -> None:
    """Raise WrongValue with all of `sentences`, if there is any."""
    found = tuple(sentences)
    if found:
        raise WrongValue(*found)
