"""What an action is: a function from one authenticated, well-formed call to a reply, inside one transaction.

    wire ▶ parsed by the service model ▶ signature ▶ permission ▶ transaction ▶ action ▶ commit ▶ reply by the model

Names in parameters and replies are the SDK's (botocore's model), values are Python's: an action neither parses nor
serialises. Who calls, idempotency tokens, DryRun, the audit log and the signal to the gateways are the dispatcher's
work, the same for every action; what an action raises undoes everything that it wrote.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from gateway.actions.settings import ServiceSettings
    from gateway.store import Vault

__all__ = ["ACTIONS", "Action", "ActionError", "Call", "Caller", "Face", "Role", "action"]


class ActionError(Exception):
    """A call is refused. The code is AWS's; the message is a sentence that says what is wrong and what to do."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        """The HTTP status."""


class Role(enum.Enum):
    """What an access key may do."""

    ADMIN = "admin"
    """Everything, access keys included."""
    OPERATOR = "operator"
    """Everything about endpoints; no access keys."""
    READ_ONLY = "read-only"
    """Describe, get, list and export."""


class Face(enum.Enum):
    """Where a call came in."""

    API = "api"
    """HTTPS, signed."""
    SOCKET = "socket"
    """The Unix socket, where the file's mode says who may."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls."""

    id: str
    """The access key's id, or `socket:UID`."""
    role: Role
    face: Face
    endpoint_ids: frozenset[str] = frozenset()
    """The only endpoints that this caller may know of; empty for all."""
    source_ip: str = ""


@dataclass(slots=True)
class Call:
    """One call, as its action sees it."""

    parameters: Mapping[str, Any]
    """By the input shape of the service model: required ones are there, types and enumerations hold."""
    connection: Connection
    """Inside the transaction: read-only for actions that change nothing."""
    caller: Caller
    settings: ServiceSettings
    vault: Vault
    """Seals and opens secrets."""
    now: float
    """Unix seconds."""
    action: str = ""
    """The action's name."""
    resource_id: str = ""
    """For the audit log: what it was about. Set by the action where the parameters do not name it."""
    before: Any = None
    after: Any = None
    """For the audit log: the object before and after, as the describe action shows it."""
    affects_gateways: bool = field(default=True)
    """Whether gateways have to look at the store again; an action that changed nothing for them clears it."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action by its name in the service model."""

    name: str
    run: Callable[[Call], dict[str, Any]]
    """Raises `ActionError`."""
    changes: bool
    """Whether it writes: it runs in a write transaction, is audited, and needs more than a read-only role."""
    role: Role
    """The least role: `READ_ONLY` for what changes nothing."""


ACTIONS: dict[str, Action] = {}
"""All actions that are carried out; what the model knows beyond them is answered with `UnsupportedOperation`."""


def action(
    name: str, *, changes: bool = False, role: Role | None = None
) -> Callable[[Callable[[Call], dict[str, Any]]], Callable[[Call], dict[str, Any]]]:
    """Register a function as an action. The role defaults to `OPERATOR` for what changes, else `READ_ONLY`."""

    def register(run: Callable[[Call], dict[str, Any]]) -> Callable[[Call], dict[str, Any]]:
        least = role or (Role.OPERATOR if changes else Role.READ_ONLY)
        ACTIONS[name] = Action(name, run, changes, least)
        return run

    return register
