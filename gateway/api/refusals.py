"""How many refused changes of a caller get into the audit log: each of them, until there are too many.

A key that may do little can be refused as often as its holder likes, and must not fill the store with that. What goes
beyond is counted, and becomes one entry. Who is nobody's key is never recorded: a signature that is wrong leaves
nothing behind. Thread-safe.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.api.audit_trail import Entry

__all__ = ["IN_FULL", "OMITTED", "SPAN_S", "Refusals"]

IN_FULL = 60
"""Of a caller, in each span."""
SPAN_S = 3600.0
OMITTED = "omitted"
"""The outcome of an entry that stands for many."""


@dataclass(slots=True)
class _Span:
    ends_at: float
    left: int = IN_FULL
    omitted: int = 0
    last: Entry | None = field(default=None)

    def summary(self) -> Entry | None:
        if self.last is None:
            return None
        return replace(self.last, parameters={"Omitted": self.omitted})


class Refusals:
    """Counts them, caller by caller."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self._spans: dict[str, _Span] = {}
        self._over: list[Entry] = []

    def admit(self, entry: Entry, rows: int) -> int:
        """How many of these rows may be written; the others are counted."""
        with self._counting:
            span = self._spans.get(entry.caller.id)
            if span is None or span.ends_at <= entry.at:
                self._end(entry.caller.id)
                span = self._spans[entry.caller.id] = _Span(entry.at + SPAN_S)
            admitted = min(rows, span.left)
            span.left -= admitted
            if admitted < rows:
                span.omitted += rows - admitted
                span.last = entry
            return admitted

    def take_summaries(self, now: float) -> list[Entry]:
        """An entry for each span that is over and in which something was left out."""
        with self._counting:
            for caller in [caller for caller, span in self._spans.items() if span.ends_at <= now]:
                self._end(caller)
            over, self._over = self._over, []
            return over

    def _end(self, caller: str) -> None:
        span = self._spans.pop(caller, None)
        summary = span.summary() if span is not None else None
        if summary is not None:
            self._over.append(summary)
