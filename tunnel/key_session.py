"""One key of a connection: a TLS session over a reliable stream, from its reset to the next key's.

Every key id of a connection has a TLS session of its own, the first one and each renegotiation. Its life is the
table below; server and client walk it alike, only what they say to each other differs.

    HANDSHAKE       TLS is being set up over the reliable stream
    KEY_EXCHANGE    TLS is up; the peer's key-method-2 block has not arrived
    AUTHENTICATION  both blocks are exchanged; whether the key may be used is being decided above
    CONFIRMING      the data key exists; the peer has not acknowledged all that it needs to have it too
    ACTIVE          the peer is known to have the key
    RETIRED         a newer key is active; data under this one is still accepted for the transition window

This module carries octets and keeps the stage. It must not know what messages mean.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from tunnel.wire import Opcode

if TYPE_CHECKING:
    from tunnel.reliability import Reliability
    from tunnel.tls import TlsSession
    from tunnel.wire import ControlPacket

__all__ = ["MAX_CONTROL_PAYLOAD", "TRANSITIONS", "KeySession", "KeyStage", "KeyStep"]

MAX_CONTROL_PAYLOAD = 1150
"""Octets of TLS in one packet: with every protection the datagram stays under OpenVPN's 1250."""


class KeyStage(enum.Enum):
    """Where a key is in its life."""

    HANDSHAKE = "handshake"
    KEY_EXCHANGE = "key exchange"
    AUTHENTICATION = "authentication"
    CONFIRMING = "confirming"
    ACTIVE = "active"
    RETIRED = "retired"


class KeyStep(enum.Enum):
    """What moves a key on."""

    TLS_COMPLETE = "TLS handshake complete"
    BLOCKS_EXCHANGED = "both key-method-2 blocks exchanged"
    AUTHORIZED = "peer authorised, data key derived"
    ACKNOWLEDGED = "everything sent is acknowledged"
    REPLACED = "a newer key is active"


TRANSITIONS: dict[tuple[KeyStage, KeyStep], KeyStage] = {
    (KeyStage.HANDSHAKE, KeyStep.TLS_COMPLETE): KeyStage.KEY_EXCHANGE,
    (KeyStage.KEY_EXCHANGE, KeyStep.BLOCKS_EXCHANGED): KeyStage.AUTHENTICATION,
    (KeyStage.AUTHENTICATION, KeyStep.AUTHORIZED): KeyStage.CONFIRMING,
    (KeyStage.CONFIRMING, KeyStep.ACKNOWLEDGED): KeyStage.ACTIVE,
    (KeyStage.ACTIVE, KeyStep.REPLACED): KeyStage.RETIRED,
}
"""The whole state machine; a step that is not here is a bug of the caller."""


class KeySession:
    """The TLS session of one key id."""

    __slots__ = ("deadline", "key_id", "plaintext", "reliability", "silent_until", "stage", "tls")

    def __init__(self, key_id: int, reliability: Reliability, tls: TlsSession, *, deadline: float) -> None:
        """`deadline`: when the key must be active, on the caller's clock."""
        self.key_id = key_id
        self.reliability = reliability
        self.tls = tls
        self.deadline = deadline
        self.stage = KeyStage.HANDSHAKE
        self.silent_until: float | None = None
        """Until when all that TLS says waits for what it will say next, to leave in one packet."""
        self.plaintext = b""
        """Of a key-method-2 block that is not whole yet."""

    def take(self, step: KeyStep) -> None:
        """Move on in `TRANSITIONS`; `KeyError` for a step that does not lead anywhere from here."""
        self.stage = TRANSITIONS[self.stage, step]

    def receive_untrusted(self, packet: ControlPacket, now: float) -> None:
        """Take an authentic packet of this key id. Raises `BadPacket`, and `HandshakeError` where TLS fails."""
        for delivered in self.reliability.receive_untrusted(packet, now):
            carries_tls = delivered.opcode in (Opcode.CONTROL_V1, Opcode.CONTROL_WKC_V1)
            self.tls.receive(delivered.payload if carries_tls else b"")

    def acknowledge_untrusted(self, packet: ControlPacket, now: float) -> None:
        """Take only what an authentic packet acknowledges, and acknowledge it: TLS is over. Raises `BadPacket`.

        A closing connection reads nothing more, so what TLS was given would pile up in its buffer.
        """
        self.reliability.receive_untrusted(packet, now)

    def packets_to_send(self, now: float) -> list[ControlPacket]:
        """All packets that must leave now. Raises `HandshakeError` where the peer acknowledges nothing."""
        if self.silent_until is not None:
            return []
        self._flush(now)
        return self.reliability.packets_to_send(now)

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called; None while nothing is waited for."""
        resend = self.reliability.get_timer()
        if self.silent_until is None or resend is None:
            return resend if self.silent_until is None else self.silent_until
        return min(resend, self.silent_until)

    def handle_timer(self, now: float) -> None:
        """End a silence that is over, and send again what was not acknowledged in time."""
        if self.silent_until is not None and now >= self.silent_until:
            self.silent_until = None
        self.reliability.handle_timer(now)

    def all_acknowledged(self, now: float) -> bool:
        """The peer has everything that TLS wanted to say."""
        self._flush(now)
        return self.reliability.all_acknowledged

    def _flush(self, now: float) -> None:
        """Cut what TLS wants to say into messages."""
        ciphertext = self.tls.ciphertext()
        for start in range(0, len(ciphertext), MAX_CONTROL_PAYLOAD):
            self.reliability.send(Opcode.CONTROL_V1, ciphertext[start : start + MAX_CONTROL_PAYLOAD], now)
