"""Who may begin a handshake: the front door, the bound on handshakes in flight, and the record of who was refused.

It decides about packets that belong to no session. It makes no session itself.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from gateway.connection_log import RefusalReason
from gateway.half_open import HalfOpen, source_network
from tunnel import Admission, Ignored, IgnoreReason, Reply, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.connection_log import ReasonCode
    from gateway.half_open import SourceNetwork
    from gateway.session_log import SessionLog
    from policy import HandshakeLimits
    from tunnel import FrontDoor, Path

__all__ = ["Admitter", "RefusalLimiter"]

REFUSAL_INTERVAL_S = 60.0
"""One record for each source network and reason in this time: who floods must not fill the log."""
REFUSAL_SOURCES = 1024
"""How many sources are told apart; with more of them the oldest is forgotten."""
REFUSALS_PER_INTERVAL = 600
"""Records in this time from all sources together: spoofed addresses cost nothing to make up."""
FAILURES_PER_SOURCE = 30
"""The same for handshakes that fail before the client has proved who it is: those have brought a cookie back, and an
office may have many clients that fail for one reason."""
NOT_RECORDED = "failed-attempts-not-recorded"

_LOGGED: Mapping[IgnoreReason, tuple[RefusalReason, str]] = {
    IgnoreReason.WRONG_CONTROL_KEY: (
        RefusalReason.WRONG_CONTROL_KEY,
        "the client's control channel key is not one of this endpoint",
    ),
    IgnoreReason.PROTECTION_NOT_ACCEPTED: (
        RefusalReason.WRONG_CONTROL_KEY,
        "the client's control channel protection is not one that this endpoint accepts",
    ),
    IgnoreReason.CLIENT_KEY_TOO_OLD: (
        RefusalReason.CONTROL_KEY_EXPIRED,
        "the client's tls-crypt-v2 key is older than this endpoint allows, or does not say its age",
    ),
}
"""What is worth a record; the rest is noise of the internet, and counted."""


class RefusalLimiter:
    """Which refusals get a record. Bounded in memory, and in records per time."""

    def __init__(self, per_source: int = 1) -> None:
        """`per_source`: how many records an interval has for each source network and reason."""
        self._per_source = per_source
        self._sources: OrderedDict[tuple[SourceNetwork, ReasonCode], tuple[float, int]] = OrderedDict()
        """When each source's interval began, and its records since; the latest begun last."""
        self._interval_began = float("-inf")
        self._in_interval = 0

    def allows(self, address: str, reason: ReasonCode, now: float) -> bool:
        """Whether this refusal is worth a record; if so it counts as written."""
        if now - self._interval_began >= REFUSAL_INTERVAL_S:
            self._interval_began, self._in_interval = now, 0
        key = (source_network(address), reason)
        began, records = self._sources.get(key, (float("-inf"), 0))
        if now - began >= REFUSAL_INTERVAL_S:
            began, records = now, 0
            self._sources.pop(key, None)
        if self._in_interval >= REFUSALS_PER_INTERVAL or records >= self._per_source:
            return False
        self._in_interval += 1
        self._sources[key] = began, records + 1
        if len(self._sources) > REFUSAL_SOURCES:
            self._sources.popitem(last=False)
        return True


class Admitter:
    """Decides about packets of nobody."""

    def __init__(self, front_door: FrontDoor, limits: HandshakeLimits, log: SessionLog) -> None:
        self._front_door = front_door
        self._log = log
        self._limiter = RefusalLimiter()
        self._failures = RefusalLimiter(FAILURES_PER_SOURCE)
        self.half_open = HalfOpen(limits.max_half_open, limits.max_half_open_per_prefix)
        self.ignored: Counter[str] = Counter()
        """Packets that got no answer, by reason; and `NOT_RECORDED`."""

    def adopt(self, front_door: FrontDoor) -> None:
        """Decide by this front door from now on; whoever was answered by the one before is still known."""
        front_door.take_over(self._front_door)
        self._front_door = front_door

    def knock_untrusted(self, path: Path, packet: bytes, now: float, unix_time: float) -> Reply | Admission | None:
        """Decide about a packet that belongs to no session; None is silence.

        An `Admission` counts as a handshake in flight until `completed` or `failed`.
        """
        decision = self._ask_untrusted(path, packet, now, unix_time)
        if isinstance(decision, Ignored):
            self._note_ignored(decision.reason, path, now)
            return None
        if isinstance(decision, Admission) and not self.half_open.enter(path.remote[0], now):
            self.ignored[RefusalReason.TOO_MANY_HANDSHAKES.value] += 1
            self._refuse(path, RefusalReason.TOO_MANY_HANDSHAKES, "too many handshakes are in flight", now)
            return None
        return decision

    def completed(self, address: str, *, without_cookie: bool) -> None:
        """A handshake from this address is no longer in flight: its client has proved itself."""
        self.half_open.leave(address)
        if without_cookie:
            self._front_door.handshake_completed()

    def failed(self, address: str, now: float) -> None:
        """A handshake from this address is no longer in flight: it has come to nothing."""
        self.half_open.fail(address, now)

    def records_failure(self, address: str, reason: ReasonCode, now: float) -> bool:
        """Whether the failed handshake of somebody who has proved nothing but an address is worth a record."""
        if self._failures.allows(address, reason, now):
            return True
        self.ignored[NOT_RECORDED] += 1
        return False

    def _ask_untrusted(self, path: Path, packet: bytes, now: float, unix_time: float) -> Reply | Admission | Ignored:
        if path.transport is Transport.TCP:
            return self._front_door.receive_stream_untrusted(packet, unix_time)
        return self._front_door.receive_datagram_untrusted(packet, path.remote, now, unix_time)

    def _note_ignored(self, reason: IgnoreReason, path: Path, now: float) -> None:
        self.ignored[reason.value] += 1
        if reason in _LOGGED:
            self._refuse(path, *_LOGGED[reason], now)

    def _refuse(self, path: Path, reason: RefusalReason, text: str, now: float) -> None:
        if self._limiter.allows(path.remote[0], reason, now):
            self._log.refused(path, reason, text)
