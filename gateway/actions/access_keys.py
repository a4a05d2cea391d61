"""Access keys: who may call the API, with which role, about which endpoints.

A secret is shown once, when its key is made, and sealed in the store from then on. Since a reply to CreateAccessKey
holds one, the action takes no idempotency token: replies to these are kept.
"""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from gateway.actions.call import ActionError, Call, Role, action
from gateway.actions.listing import paginate
from gateway.actions.objects import find_endpoint
from gateway.store.schema import access_key

if TYPE_CHECKING:
    from sqlalchemy import Row

__all__: list[str] = []

_ID_PREFIX = "PWKA"
_ID_OCTETS = 10  # 16 characters of base32: 20 in all, as AWS's ids have
_SECRET_OCTETS = 30  # 40 characters of base64, as AWS's secrets have


@action("CreateAccessKey", changes=True, role=Role.ADMIN)
def create_access_key(call: Call) -> dict[str, Any]:
    """Make a key and show its secret, this once."""
    endpoint_ids = sorted(set(call.parameters.get("ClientVpnEndpointIds", ())))
    for endpoint_id in endpoint_ids:
        find_endpoint(call, endpoint_id)
    key_id = _ID_PREFIX + base64.b32encode(secrets.token_bytes(_ID_OCTETS)).decode()
    secret = secrets.token_urlsafe(_SECRET_OCTETS)
    call.connection.execute(
        insert(access_key).values(
            id=key_id,
            secret=call.vault.seal(secret.encode()),
            role=call.parameters["Role"],
            endpoint_ids=endpoint_ids,
            description=call.parameters.get("Description", ""),
            created_at=call.now,
        )
    )
    call.after = _shape(_find(call, key_id))
    return {"AccessKey": call.after, "SecretAccessKey": secret}


@action("ListAccessKeys", role=Role.ADMIN)
def list_access_keys(call: Call) -> dict[str, Any]:
    """Show keys without their secrets; who is limited to endpoints sees those that are limited to the same."""
    rows = call.connection.execute(select(access_key)).all()
    page, next_token = paginate(call, (row for row in rows if _is_visible(call, row)), key=lambda row: row.id)
    return {"AccessKeys": [_shape(row) for row in page], "NextToken": next_token}


@action("ModifyAccessKey", changes=True, role=Role.ADMIN)
def modify_access_key(call: Call) -> dict[str, Any]:
    """Disable a key, enable it again, or describe it anew. What it may do stays: make another one for that."""
    row = _find(call, call.parameters["AccessKeyId"])
    changes: dict[str, Any] = {}
    if "Status" in call.parameters:
        changes["disabled_at"] = None if call.parameters["Status"] == "Active" else row.disabled_at or call.now
    if "Description" in call.parameters:
        changes["description"] = call.parameters["Description"]
    if changes:
        call.connection.execute(update(access_key).where(access_key.c.id == row.id).values(changes))
    call.before, call.after = _shape(row), _shape(_find(call, row.id))
    return {"AccessKey": call.after}


@action("DeleteAccessKey", changes=True, role=Role.ADMIN)
def delete_access_key(call: Call) -> dict[str, Any]:
    """Delete a key, for good."""
    row = _find(call, call.parameters["AccessKeyId"])
    call.before = _shape(row)
    call.connection.execute(delete(access_key).where(access_key.c.id == row.id))
    return {}


def _find(call: Call, key_id: str) -> Row[Any]:
    call.resource_id = key_id[:64]
    call.affects_gateways = False
    row = call.connection.execute(select(access_key).where(access_key.c.id == key_id)).first()
    if row is None or not _is_visible(call, row):
        raise ActionError("NoSuchEntity", f"There is no access key {key_id!r}.", 404)
    return row


def _is_visible(call: Call, row: Row[Any]) -> bool:
    limits = call.caller.endpoint_ids
    return not limits or (bool(row.endpoint_ids) and limits.issuperset(row.endpoint_ids))


def _shape(row: Row[Any]) -> dict[str, Any]:
    return {
        "AccessKeyId": row.id,
        "Role": row.role,
        "ClientVpnEndpointIds": row.endpoint_ids,
        "Description": row.description,
        "Status": "Active" if row.disabled_at is None else "Inactive",
        "CreateDate": datetime.fromtimestamp(row.created_at, UTC),
        "LastUsedDate": None if row.last_used_at is None else datetime.fromtimestamp(row.last_used_at, UTC),
    }
