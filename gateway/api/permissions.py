"""Who may call what.

Decided from the call alone, before anything is looked up, so that a refusal tells nothing of what there is. A key has
a role and, if it is limited, endpoints: it may then look at whatever its actions show it, and change only what names
endpoints of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.actions import ActionError, Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.actions import Action, Caller

__all__ = ["check_endpoints", "check_role"]

_RANK = {Role.READ_ONLY: 0, Role.OPERATOR: 1, Role.ADMIN: 2}
_NAMING_MEMBERS = ("ClientVpnEndpointId", "ClientVpnEndpointIds", "Resources")
"""Parameters by which actions name endpoints; `Resources` are what tags are put on."""


def check_role(caller: Caller, action: Action) -> None:
    """Raise `UnauthorizedOperation` where the caller's role does not reach."""
    if _RANK[caller.role] < _RANK[action.role]:
        raise _refused(f"{action.name} needs the role {action.role.value}; this key has {caller.role.value}.")


def check_endpoints(caller: Caller, action: Action, parameters: Mapping[str, Any]) -> None:
    """Raise `UnauthorizedOperation` where a key that is limited to endpoints reaches beyond them."""
    if not caller.endpoint_ids:
        return
    named = set(_named(parameters))
    if action.changes and not named:
        raise _refused(f"{action.name} concerns more than the endpoints that this key is limited to.")
    if not named <= caller.endpoint_ids:
        raise _refused("This key is limited to other endpoints.")


def _named(parameters: Mapping[str, Any]) -> Iterator[str]:
    for member in _NAMING_MEMBERS:
        value = parameters.get(member, ())
        yield from (value,) if isinstance(value, str) else value


def _refused(sentence: str) -> ActionError:
    return ActionError("UnauthorizedOperation", sentence, 403)
