"""Access keys for tests, put into the store directly."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import insert

from gateway.actions import Role
from gateway.store.schema import access_key

if TYPE_CHECKING:
    from gateway.store import Store

__all__ = ["add_key"]


def add_key(
    store: Store, role: Role = Role.ADMIN, *endpoint_ids: str, disabled_at: float | None = None
) -> tuple[str, str]:
    """Make a key, and return its id and its secret."""
    key_id, secret = f"PWKA{secrets.token_hex(8).upper()}", secrets.token_hex(20)
    with store.write(affects_gateways=False) as connection:
        connection.execute(
            insert(access_key).values(
                id=key_id,
                secret=store.vault.seal(secret.encode()),
                role=role.value,
                endpoint_ids=list(endpoint_ids),
                created_at=0.0,
                disabled_at=disabled_at,
            )
        )
    return key_id, secret
