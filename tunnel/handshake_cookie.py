"""The stateless cookie: a session id that proves, when it comes back, that its receiver really is where it says.

Owns the formula and its time slots. Must not know packets. It holds one secret and no memory of anybody.
"""

from __future__ import annotations

import hmac
import struct
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from tunnel.wire import SESSION_ID_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HandshakeCookie"]

_SECRET_SIZE = 32
_SLOT_AND_PORT = struct.Struct("!qI")
_ACCEPTED_SLOTS = (0, -1, -2)


class HandshakeCookie:
    """Makes and verifies cookies (OpenVPN `calculate_session_id_hmac`): the server's session id is the cookie."""

    __slots__ = ("_keyed", "_slot_s")

    def __init__(self, handshake_timeout_s: float, random_bytes: Callable[[int], bytes]) -> None:
        """A cookie is good for at least `handshake_timeout_s`, and for one and a half times that at most."""
        self._slot_s = (handshake_timeout_s + 1) / 2
        self._keyed = HMAC(random_bytes(_SECRET_SIZE), SHA256())

    def take_over(self, predecessor: HandshakeCookie) -> None:
        """Accept the predecessor's cookies, where both have the same time slots."""
        self._keyed = predecessor._keyed

    def build(self, remote: tuple[str, int], remote_session_id: bytes, now: float) -> bytes:
        """Return the session id for an answer to this client."""
        return self._build(remote, remote_session_id, self._slot(now))

    def verify(self, cookie: bytes, remote: tuple[str, int], remote_session_id: bytes, now: float) -> bool:
        """Tell whether this client was given this cookie in the present time slot or the two before it."""
        slot = self._slot(now)
        # The latest first: how long it takes tells the age of a good cookie, which is no secret.
        return any(
            hmac.compare_digest(self._build(remote, remote_session_id, slot + back), cookie) for back in _ACCEPTED_SLOTS
        )

    def _slot(self, now: float) -> int:
        return int(now // self._slot_s)

    def _build(self, remote: tuple[str, int], remote_session_id: bytes, slot: int) -> bytes:
        host, port = remote
        # The fields of fixed length come first, so that no two clients' inputs can be the same octets.
        message = _SLOT_AND_PORT.pack(slot, port) + remote_session_id + host.encode()
        mac = self._keyed.copy()
        mac.update(message)
        return mac.finalize()[:SESSION_ID_SIZE]
