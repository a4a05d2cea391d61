"""What both sides of a connection share: packets to keys, renegotiation, timers, the end.

An association is a pair of session ids with one TLS session per key id (`tunnel.key_session`). It is sans-IO:
control packets and the time go in, control packets and events come out. The face is five verbs,
`receive_packet`, `packets_to_send`, `get_timer`, `handle_timer` and `next_event`; whatever the peer sends, they
raise nothing. `tunnel.connection` adds what a server decides, `tunnel.client` what a client does.

    OPEN ──refused, exit, restart, halt, TLS failure──▶ CLOSING ──acknowledged, or LINGER_S──▶ CLOSED
     └──────────────────────────abandoned, handshake timed out──────────────────────────────────▲
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunnel.control_messages import MessageReader, build_message
from tunnel.control_wrap import ControlWrap, TlsCryptWrap
from tunnel.errors import BadPacket, HandshakeError
from tunnel.events import Closed, CloseReason, KeyActivated, KeyDerived, KeyExpired
from tunnel.key_derivation import DYNAMIC_TLS_CRYPT_LABEL, derive_dynamic_tls_crypt_key
from tunnel.key_session import KeySession, KeyStage, KeyStep
from tunnel.reliability import Reliability
from tunnel.tls_crypt_v2 import split_wkc_untrusted
from tunnel.wire import MAX_CONTROL_PACKET, WKC_OPCODES, Opcode, key_id_of, opcode_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunnel.data_keys import DataKey
    from tunnel.events import Event
    from tunnel.static_key import StaticKey
    from tunnel.tls import TlsSession
    from tunnel.wire import ControlPacket

__all__ = ["LINGER_S", "Association", "Timing"]

LINGER_S = 5.0
"""How long a closing association answers acknowledgements, so that its last message arrives (OpenVPN 2.6)."""

MIN_RENEGOTIATION_GAP_S = 1.0
"""A peer that asks for a new key more often than this is left waiting: each costs a TLS handshake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things may take, in seconds."""

    handshake_timeout_s: float = 60
    """OpenVPN's `hand-window`."""
    renegotiate_after_s: float = 0
    """OpenVPN's `reneg-sec`; 0 leaves renegotiation to the peer."""
    transition_window_s: float = 3600
    """OpenVPN's `tran-window`."""


class Association(ABC):
    """One side of an OpenVPN connection's control channel."""

    def __init__(
        self,
        *,
        wrap: ControlWrap,
        session_id: bytes,
        timing: Timing,
        reliable_transport: bool,
        now: float,
        unix_time: Callable[[], float],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`reliable_transport`: over TCP nothing is sent twice. `unix_time` gives seconds since 1970."""
        self.session_id = session_id
        self.remote_session_id: bytes | None = None
        self.bad_packets = 0
        """Packets dropped because they were malformed, forged, replayed or out of place."""
        self._wraps = {0: wrap}
        self._dynamic_tls_crypt: tuple[StaticKey | None, bool] | None = None
        self._timing = timing
        self._reliable_transport = reliable_transport
        self._unix_time = unix_time
        self._random_bytes = random_bytes
        self._keys: dict[int, KeySession] = {}
        self._newest = 0
        self._messages = MessageReader()
        self._events: list[Event] = []
        self._expiries: dict[int, float] = {}
        self._active_since = now
        """When the newest key became active; without meaning before that."""
        self._renegotiate_at: float | None = None
        self._next_renegotiation_allowed = now
        self._closing: Closed | None = None
        self._linger_until: float | None = None
        self._linger_in_full = False
        self._last_words = ""
        self._closed = False

    # The five verbs

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take a control packet that came from the peer's address. Bad ones are counted, and nothing else."""
        if self._closed or not packet:
            return
        if len(packet) > MAX_CONTROL_PACKET:
            self.bad_packets += 1
            return
        try:
            self._receive_untrusted(packet, now)
        except BadPacket:
            self.bad_packets += 1
        except HandshakeError as error:
            self._fail(error, now)

    def packets_to_send(self, now: float) -> list[bytes]:
        """All control packets that must leave now, each a datagram or frame of its own."""
        packets: list[bytes] = []
        if self._closed:
            return packets
        for key in tuple(self._keys.values()):
            try:
                unwrapped = key.packets_to_send(now)
            except HandshakeError as error:
                self._close(Closed(error.reason, error.text))
                return packets
            packets += [self._seal(packet) for packet in unwrapped]
        return packets

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called; None only after the end."""
        if self._closed:
            return None
        lingers = self._linger_until is not None
        moments = [self._linger_until if lingers else self._renegotiate_at]
        for key in self._keys.values():
            moments.append(key.get_timer())
            if not lingers and key.stage is not KeyStage.ACTIVE:
                moments.append(key.deadline)
        if self._expiries and not lingers:
            moments += self._expiries.values()
        return min([moment for moment in moments if moment is not None], default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due: send again, give up, renegotiate, forget keys."""
        if self._closed:
            return
        for key in self._keys.values():
            key.handle_timer(now)
        if self._linger_until is not None:
            if now >= self._linger_until and self._closing is not None:
                self._close(self._closing)
            return
        self._expire_keys(now)
        if any(now >= key.deadline for key in self._keys.values() if key.stage is not KeyStage.ACTIVE):
            text = f"The handshake was not complete after {self._timing.handshake_timeout_s:g} s."
            self._close(Closed(CloseReason.HANDSHAKE_TIMEOUT, text))
        elif self._renegotiate_at is not None and now >= self._renegotiate_at:
            self.renegotiate(now)

    def next_event(self) -> Event | None:
        """The oldest event that was not taken yet."""
        return self._events.pop(0) if self._events else None

    # Decisions from above that both sides have

    @property
    def is_closed(self) -> bool:
        """Nothing more will come out; `Closed` is the last event."""
        return self._closed

    @property
    def closing(self) -> Closed | None:
        """How it is about to end, from the first moment that it is: only what was said before is still repeated."""
        return self._closing

    @property
    def tls_version(self) -> str | None:
        """TLSv1.2 or TLSv1.3 once TLS is up."""
        key = self._keys.get(self._newest)
        return key.tls.version if key is not None and key.tls.handshake_complete else None

    def renegotiate(self, now: float) -> None:
        """Begin a new key, unless one is under way or the connection is not up."""
        self._renegotiate_at = None
        if self._closing is None and self._is_settled():
            key = self._open_key(self._following_key_id(), now)
            key.reliability.send(Opcode.SOFT_RESET_V1, b"", now)

    def abandon(self, reason: CloseReason, text: str) -> None:
        """End at once, without a word to the peer."""
        if not self._closed:
            self._close(Closed(reason, text))

    # Packets to keys

    def _receive_untrusted(self, data: bytes, now: float) -> None:
        if opcode_of(data) in WKC_OPCODES:
            data, _ = split_wkc_untrusted(data)  # its key was unwrapped when the connection was admitted
        packet = self._wrap_for(key_id_of(data)).unwrap_untrusted(data)
        self._deliver_untrusted(packet, now)

    def _deliver_untrusted(self, packet: ControlPacket, now: float) -> None:
        """Take an authentic packet."""
        key = self._keys.get(packet.key_id) or self._answer_soft_reset_untrusted(packet, now)
        if self._closing is None:
            key.receive_untrusted(packet, now)
            self.remote_session_id = key.reliability.remote_session_id
            self._advance(key, now)
            return
        key.acknowledge_untrusted(packet, now)
        self._say_last_words(now)
        if not self._linger_in_full and not self._last_words and self._all_acknowledged(now):
            self._close(self._closing)

    def _answer_soft_reset_untrusted(self, packet: ControlPacket, now: float) -> KeySession:
        """The key session that a peer's SOFT_RESET opens."""
        expected = packet.opcode is Opcode.SOFT_RESET_V1 and packet.key_id == self._following_key_id()
        if not expected or self._closing is not None or not self._is_settled():
            raise BadPacket("the packet's key id is not in use")
        if packet.session_id != self.remote_session_id:
            raise BadPacket("the packet is from another session")
        if now < self._next_renegotiation_allowed:
            raise BadPacket("renegotiation too soon after the last one")
        key = self._open_key(packet.key_id, now)
        key.reliability.send(Opcode.SOFT_RESET_V1, b"", now)
        return key

    def _open_key(self, key_id: int, now: float, *, next_send_id: int = 0, next_receive_id: int = 0) -> KeySession:
        reliability = Reliability(
            self.session_id,
            self.remote_session_id,
            key_id=key_id,
            reliable_transport=self._reliable_transport,
            next_send_id=next_send_id,
            next_receive_id=next_receive_id,
        )
        key = KeySession(key_id, reliability, self._new_tls(), deadline=now + self._timing.handshake_timeout_s)
        self._keys[key_id] = key
        self._newest = key_id
        self._messages = MessageReader()
        self._next_renegotiation_allowed = now + MIN_RENEGOTIATION_GAP_S
        return key

    def _following_key_id(self) -> int:
        return self._newest % 7 + 1  # 0 belongs to the first key alone: 7 is followed by 1

    def _is_settled(self) -> bool:
        key = self._keys.get(self._newest)
        return key is not None and key.stage is KeyStage.ACTIVE

    def _wrap_for(self, key_id: int) -> ControlWrap:
        if key_id == 0 or self._dynamic_tls_crypt is None:
            return self._wraps[0]
        if 1 not in self._wraps:
            self._wraps[1] = self._derive_wrap(*self._dynamic_tls_crypt)
        return self._wraps[1]

    def _use_dynamic_tls_crypt(self, base_key: StaticKey | None, *, server: bool) -> None:
        """Protect all keys but the first with a key from the first one's TLS session.

        It is derived when it is needed: the first TLS session lives until the second one is up, and many clients are
        gone before that.
        """
        self._dynamic_tls_crypt = base_key, server

    def _derive_wrap(self, base_key: StaticKey | None, server: bool) -> ControlWrap:
        exported = self._keys[0].tls.export(DYNAMIC_TLS_CRYPT_LABEL, 256)
        return ControlWrap(TlsCryptWrap(derive_dynamic_tls_crypt_key(exported, base_key), server=server))

    # A key's way

    def _advance(self, key: KeySession, now: float) -> None:
        """Take every step that is possible now."""
        if key.stage is KeyStage.HANDSHAKE and key.tls.handshake_complete:
            key.take(KeyStep.TLS_COMPLETE)
            self._tls_complete(key, now)
        while self._closing is None and (plaintext := key.tls.read()):
            if key.stage is KeyStage.KEY_EXCHANGE:
                plaintext = self._key_method_received(key, key.plaintext + plaintext, now)
            if key.stage is not KeyStage.KEY_EXCHANGE:
                for message in self._messages.feed_untrusted(plaintext):
                    if self._closing is None:
                        self._message_received(message, now)
        if key.stage is KeyStage.CONFIRMING and self._confirm(key, now):
            self._activate(key, now)

    def _install(self, key: KeySession, data_key: DataKey) -> None:
        """The data key exists; it may be used for receiving."""
        key.take(KeyStep.AUTHORIZED)
        if self._expiries.pop(key.key_id, None) is not None:
            self._events.append(KeyExpired(key.key_id))
        self._events.append(KeyDerived(data_key))

    def _activate(self, key: KeySession, now: float) -> None:
        """The peer has the key: send with it, and let the one before fade."""
        key.take(KeyStep.ACKNOWLEDGED)
        self._events.append(KeyActivated(key.key_id))
        for key_id in tuple(self._keys):
            if key_id != key.key_id:
                self._keys.pop(key_id).take(KeyStep.REPLACED)
                # Those retired earlier stay too: OpenVPN 3 sends under its old key for up to a minute, while keys
                # that wear out may follow each other faster. Eight key ids bound how many there can be.
                self._expiries[key_id] = now + self._timing.transition_window_s
        self._active_since = now
        self._schedule_renegotiation(now)

    def _adopt_timing(self, timing: Timing, *, earliest_renegotiation: float) -> None:
        """Live by these times from now on, as if they had held since the present key became active."""
        grown = timing.transition_window_s - self._timing.transition_window_s
        self._expiries = {key_id: at + grown for key_id, at in self._expiries.items()}
        self._timing = timing
        if self._is_settled() and self._closing is None:
            self._schedule_renegotiation(earliest_renegotiation)

    def _schedule_renegotiation(self, earliest: float) -> None:
        after_s = self._timing.renegotiate_after_s
        self._renegotiate_at = max(self._active_since + after_s, earliest) if after_s else None

    def _expire_keys(self, now: float) -> None:
        for key_id in [key_id for key_id, at in self._expiries.items() if now >= at]:
            del self._expiries[key_id]
            self._events.append(KeyExpired(key_id))

    # The end

    def _fail(self, error: HandshakeError, now: float) -> None:
        """TLS or what is inside it went wrong: let the alert out, then end."""
        if self._closing is None:
            self._close_after(Closed(error.reason, error.text), now)

    def _speaker(self) -> KeySession | None:
        """The newest key that the peer can read text messages from; None where there is none yet."""
        for key in sorted(self._keys.values(), key=lambda key: key.key_id != self._newest):
            if key.stage not in (KeyStage.HANDSHAKE, KeyStage.KEY_EXCHANGE):
                return key
        return None

    def _say(self, message: str) -> bool:
        """Send a text message; False where the peer cannot read any yet."""
        speaker = self._speaker()
        if speaker is not None:
            speaker.tls.write(build_message(message))
        return speaker is not None

    def _say_last_words(self, now: float) -> None:
        """Send what `_close_after` was given once the peer has all that came before.

        OpenVPN 3 drops text that arrives before its own key-method-2 block is acknowledged.
        """
        speaker = self._speaker()
        if self._last_words and speaker is not None and speaker.all_acknowledged(now):
            words, self._last_words = self._last_words, ""
            speaker.tls.write(build_message(words))

    def _all_acknowledged(self, now: float) -> bool:
        return all(key.all_acknowledged(now) for key in self._keys.values())

    def _close_after(self, closed: Closed, now: float, *, last_words: str = "", in_full: bool = False) -> None:
        """End when everything is acknowledged, or after `LINGER_S`; this deadline never moves (CVE-2024-28882).

        `last_words` is a text message to say before that. Raises `HandshakeError` where TLS cannot say it.
        """
        self._closing = closed
        self._linger_until = now + LINGER_S
        self._linger_in_full = in_full
        self._renegotiate_at = None
        self._last_words = last_words
        self._say_last_words(now)

    def _close(self, closed: Closed) -> None:
        self._closed = True
        self._keys.clear()
        self._wraps.clear()
        self._events.append(closed)

    # What the sides do differently

    @abstractmethod
    def _new_tls(self) -> TlsSession:
        """This side's end of a new TLS session."""

    @abstractmethod
    def _tls_complete(self, key: KeySession, now: float) -> None:
        """TLS is up; the peer's block has not been looked at."""

    @abstractmethod
    def _key_method_received(self, key: KeySession, buffer: bytes, now: float) -> bytes:
        """Read the peer's block; return the plaintext behind it. Keeps what is not whole in `key.plaintext`."""

    @abstractmethod
    def _message_received(self, message: str, now: float) -> None:
        """A text message arrived."""

    @abstractmethod
    def _confirm(self, key: KeySession, now: float) -> bool:
        """Go on until the peer is known to have the key that this side has derived; True once it is."""

    def _seal(self, packet: ControlPacket) -> bytes:
        """Protect a packet; the client adds what lies outside the protection."""
        return self._wrap_for(packet.key_id).wrap(packet, self._unix_time())
