"""What all actions do with objects: make their ids, find the endpoint that a call is about, show a status."""

from __future__ import annotations

import re
import secrets
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gateway.actions.call import ActionError, Call
from gateway.store.schema import endpoint

if TYPE_CHECKING:
    from sqlalchemy import Row

__all__ = ["canonical_cidr", "description_of", "find_endpoint", "is_visible", "make_status", "new_id", "status_shape"]

_ID_DIGITS = 17
"""As many as AWS's ids have."""
_MAX_DESCRIPTION = 255
"""Characters; AWS's limit."""
_WITH_PREFIX = re.compile(r"[0-9.]+/[0-9]+")
"""A mask in the prefix's place, or nothing, would leave to guess which network is meant."""


def new_id(prefix: str) -> str:
    """A fresh id in AWS's form: `cvpn-endpoint-` and 17 hexadecimal digits, for `cvpn-endpoint`."""
    return f"{prefix}-{secrets.token_hex(_ID_DIGITS)[:_ID_DIGITS]}"


def is_visible(call: Call, endpoint_id: str) -> bool:
    """Whether the caller may know of this endpoint."""
    return not call.caller.endpoint_ids or endpoint_id in call.caller.endpoint_ids


def find_endpoint(call: Call, endpoint_id: str, *, for_change: bool = False, for_deletion: bool = False) -> Row[Any]:
    """The row of an endpoint that has not ended.

    Raises `InvalidClientVpnEndpointId.NotFound`, also where the caller may not know of it. With `for_change` and
    `for_deletion`, raises `UnsupportedOperation` for one that a file declares; with `for_change`, `IncorrectState`
    for one that is being deleted.
    """
    found = None
    if is_visible(call, endpoint_id):
        found = call.connection.execute(
            select(endpoint).where(endpoint.c.id == endpoint_id, endpoint.c.ended_at.is_(None))
        ).one_or_none()
    if found is None:
        raise ActionError("InvalidClientVpnEndpointId.NotFound", f"There is no endpoint {endpoint_id!r}.")
    if for_change or for_deletion:
        _check_is_of_api(found)
    if for_change and found.status_code == "deleting":
        raise ActionError("IncorrectState", f"The endpoint {found.id} is being deleted.")
    return found


def _check_is_of_api(row: Row[Any]) -> None:
    if row.origin == "file":
        raise ActionError(
            "UnsupportedOperation",
            f"The endpoint {row.id} ({row.name}) is declared in {row.declared_in}. Change it there, "
            "and run `portway reload`.",
        )


def status_shape(row: Row[Any]) -> dict[str, str]:
    """The status of any object that has one."""
    return make_status(row.status_code, row.status_message)


def make_status(code: str, message: str) -> dict[str, str]:
    """A status; with the message only where there is something to say."""
    return {"Code": code, "Message": message} if message else {"Code": code}


def description_of(call: Call) -> str:
    """The parameter `Description`; an empty one is as good as none. Raises `InvalidParameterValue`."""
    text = str(call.parameters.get("Description") or "")
    if len(text) > _MAX_DESCRIPTION:
        raise ActionError(
            "InvalidParameterValue",
            f"The description has {len(text)} characters. It may have up to {_MAX_DESCRIPTION}.",
        )
    return text


def canonical_cidr(text: str) -> str:
    """The one way to write an IPv4 network: its own address and prefix length, as in `10.20.0.0/16`.

    Bits beyond the prefix are cleared, as EC2 does. Raises `InvalidParameterValue`.
    """
    network = _parse(text)
    if network is None:
        raise ActionError(
            "InvalidParameterValue", f"{text!r} is no IPv4 network. Write it with its prefix length: 10.20.0.0/16."
        )
    return str(network)


def _parse(text: str) -> IPv4Network | None:
    if not _WITH_PREFIX.fullmatch(text):
        return None
    try:
        return IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError):
        return None
