"""One endpoint of a declaration, with all that making it needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.actions.declaration.changes import Work
    from gateway.actions.declaration.groups import GroupIds
    from gateway.actions.declaration.state import Held, State
    from gateway.config.declaration import Endpoint

__all__ = ["Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be, and what there is."""

    work: Work
    state: State
    ids: GroupIds
    wanted: Endpoint
    held: Held | None
    """None for an endpoint that is new."""
    key_path: str
    """Where the file asks for it, as `endpoint[0]`."""

    @property
    def known(self) -> Endpoint | None:
        """What there is, as a file would declare it."""
        return self.held.declared if self.held is not None else None

    def at(self, key: str) -> str:
        """The place of one of its keys in the file."""
        return f"{self.key_path}.{key}"
