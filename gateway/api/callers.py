"""Who calls: access keys and their secrets, found in the store, and when each was last used.

Blocks: runs in threads.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import bindparam, select, update

from gateway.actions import Caller, Face, Role
from gateway.api.signature import parse_claim_untrusted, verify
from gateway.store import StoreError
from gateway.store.schema import access_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.api.signature import Claim, SignedRequest
    from gateway.store import Store

__all__ = ["Callers", "socket_caller"]

MOST_USES_WAITING = 10_000
"""Keys whose use is noted between two writings; beyond them it is not."""

logger = structlog.get_logger("api")


def socket_caller(uid: int) -> Caller:
    """Return who speaks by the Unix socket: the file's mode has let in root and the gateway's own user only."""
    return Caller(f"socket:{uid}", Role.ADMIN, Face.SOCKET)


class Callers:
    """Tells by signatures who calls."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._nobodys_secret = store.vault.seal(b"of the length that secrets have: forty.")
        self._uses: dict[str, float] = {}
        self._noting = threading.Lock()

    def identify(self, request: SignedRequest, source_ip: str) -> tuple[Caller, Claim]:
        """Return the caller and what was signed, and for which service. Raises `ActionError`."""
        now = self._clock()
        claim = parse_claim_untrusted(request, datetime.fromtimestamp(now, UTC))
        caller, secret = self._find(claim.key_id, source_ip)
        verify(request, claim, secret)
        self._note_use(claim.key_id, now)
        return caller, claim

    def write_uses(self) -> None:
        """Write down which keys were used, and when; once a minute is enough, and costs a call nothing."""
        with self._noting:
            uses, self._uses = self._uses, {}
        if not uses:
            return
        statement = update(access_key).where(access_key.c.id == bindparam("key")).values(last_used_at=bindparam("at"))
        try:
            with self._store.write(affects_gateways=False) as connection:
                connection.execute(statement, [{"key": key, "at": at} for key, at in uses.items()])
        except StoreError as error:
            logger.warning("when keys were used could not be written", error=str(error))

    def _find(self, key_id: str, source_ip: str) -> tuple[Caller, str | None]:
        """The caller with this key, and its secret; one who may do nothing, and None, where the key is not good."""
        with self._store.read() as connection:
            row = connection.execute(select(access_key).where(access_key.c.id == key_id)).first()
        # Opened for unknown keys as well: how long an answer takes must not tell them apart.
        secret = self._store.vault.open(row.secret if row is not None else self._nobodys_secret).decode()
        if row is None or row.disabled_at is not None:
            return Caller(key_id, Role.READ_ONLY, Face.API), None
        return Caller(row.id, Role(row.role), Face.API, frozenset(row.endpoint_ids), source_ip), secret

    def _note_use(self, key_id: str, now: float) -> None:
        with self._noting:
            if len(self._uses) < MOST_USES_WAITING:
                self._uses[key_id] = now
