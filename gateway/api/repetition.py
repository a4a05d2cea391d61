"""Keeps a change from being carried out twice: idempotency tokens, which callers choose, and signatures.

Both are kept in the transaction of the change itself: there is no moment in which the change is there and they are not.
What is too old to be asked for again goes when the next change comes. A signature outlives the token that came with
it: a token may be forgotten while what it was signed with is still good.

A reply is kept as it is, so an action whose reply has a secret in it must take no token.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import delete, insert, select

from gateway.actions import ActionError
from gateway.store.schema import executed_signature, idempotency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

__all__ = [
    "TOKEN_LIFE_S",
    "Token",
    "find_reply",
    "forget_old",
    "keep_reply",
    "refuse_repetition",
    "take_signature",
    "take_token",
]

TOKEN_LIFE_S = 24 * 3600.0
MAX_TOKEN = 64


@dataclass(frozen=True, slots=True)
class Token:
    """An idempotency token, with what it was given for."""

    caller: str
    action: str
    token: str
    digest: str
    """Of the other parameters."""


def take_token(caller: str, action: str, parameters: Mapping[str, Any]) -> Token | None:
    """Return the token of a call, if it has one. Raises `InvalidParameterValue`."""
    token = parameters.get("ClientToken")
    if token is None:
        return None
    if not token or len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable():
        raise ActionError("InvalidParameterValue", f"ClientToken has to be 1 to {MAX_TOKEN} ASCII characters.")
    others = {name: value for name, value in parameters.items() if name != "ClientToken"}
    digest = hashlib.sha256(json.dumps(others, sort_keys=True, default=_plain).encode()).hexdigest()
    return Token(caller, action, token, digest)


def find_reply(connection: Connection, token: Token) -> dict[str, Any] | None:
    """Return what was replied when this token came first, or None. Raises `IdempotentParameterMismatch`."""
    table = idempotency.c
    row = connection.execute(
        select(table.request_digest, table.response).where(
            table.caller == token.caller, table.action == token.action, table.token == token.token
        )
    ).first()
    if row is None:
        return None
    if row.request_digest != token.digest:
        sentence = "This ClientToken was given before, with other parameters. Use a new one for a new request."
        raise ActionError("IdempotentParameterMismatch", sentence)
    return cast("dict[str, Any]", row.response)


def keep_reply(connection: Connection, token: Token, reply: Mapping[str, Any], now: float) -> None:
    """Keep a reply for whoever brings the same token again."""
    connection.execute(
        insert(idempotency).values(
            caller=token.caller,
            action=token.action,
            token=token.token,
            request_digest=token.digest,
            response=json.loads(json.dumps(reply, default=_plain)),
            created_at=now,
        )
    )


def take_signature(connection: Connection, signature: str, expires_at: float) -> bool:
    """Take note of a signature, for as long as it could be used again; False where it is known already."""
    known = executed_signature.c.signature
    if connection.execute(select(known).where(known == signature)).first():
        return False
    connection.execute(insert(executed_signature).values(signature=signature, expires_at=expires_at))
    return True


def refuse_repetition() -> ActionError:
    """What is said of a change whose signature is known.

    Two equal requests of one second have equal signatures, so this may be an honest caller's second one. The code is
    one that SDKs answer by signing anew and trying again, which whoever has only listened in cannot.
    """
    sentence = "This very request was carried out already. Sign it anew to have it carried out again."
    return ActionError("Throttling", sentence)


def forget_old(connection: Connection, now: float) -> None:
    """Remove what nobody can ask for any more."""
    connection.execute(delete(idempotency).where(idempotency.c.created_at < now - TOKEN_LIFE_S))
    connection.execute(delete(executed_signature).where(executed_signature.c.expires_at < now))


def _plain(value: object) -> str:
    """What JSON does not have, as replies write it."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
