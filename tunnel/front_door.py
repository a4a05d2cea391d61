"""What becomes of a packet from somebody who has no connection yet.

Owns the choice of protection, the stateless handshake and the limits before it. Must not know connections, users
or sockets. Whoever knocks costs no memory: the front door holds its keys, a cookie secret and a counter.

    UDP   reset ──────────────▶ Reply: a server reset whose session id is a cookie; nothing is kept
          packet with cookie ─▶ Admission: the client is where it says, and its connection begins after the resets
          reset with tls-crypt-v2, of a client without early negotiation (2.5)
                ─────────────▶ Admission that still owes the reset: such a client sends its key only once
    TCP   reset ──────────────▶ Admission that still owes the reset: the stream is state already
    else  ────────────────────▶ Ignored, and why

Cheap checks come first: shape, then the limit, then cryptography.
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tunnel.control_key_diagnosis import diagnose_control_key_untrusted
from tunnel.control_wrap import ControlWrap, PlainWrap, TlsAuthWrap, TlsCryptWrap
from tunnel.errors import BadPacket
from tunnel.handshake_cookie import HandshakeCookie
from tunnel.replay_window import ReplayId
from tunnel.reply_limiter import ReplyLimiter
from tunnel.static_key import KeyDirection
from tunnel.tls_crypt_v2 import split_wkc_untrusted, unwrap_client_key_untrusted
from tunnel.wire import (
    CLIENT_RESETS,
    EARLY_NEGOTIATION_START,
    HEADER_SIZE,
    MAX_CONTROL_PACKET,
    SESSION_ID_SIZE,
    WKC_OPCODES,
    ControlPacket,
    EarlyNegotiation,
    Opcode,
    build_early_negotiation,
    key_id_of,
    opcode_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunnel.control_wrap import WrapKey
    from tunnel.static_key import StaticKey
    from tunnel.tls_crypt_v2 import Metadata, ServerKey

__all__ = [
    "Admission",
    "FrontDoor",
    "FrontDoorKeys",
    "IgnoreReason",
    "Ignored",
    "Protection",
    "Reply",
]

_MIN_PACKET_SIZE = HEADER_SIZE + 1
_FIRST_DATAGRAMS = frozenset({*CLIENT_RESETS, *WKC_OPCODES, Opcode.CONTROL_V1, Opcode.ACK_V1})
_EARLY_NEGOTIATION_MASK = 0x0F000000
_PLAIN_RESET_SIZE = 14
_RESET_ID = 0
_FIRST_ID = 1


class Protection(enum.Enum):
    """How a client's control packets are protected; the value is the configuration's name."""

    TLS_CRYPT_V2 = "tls-crypt-v2"
    """Encrypted under a key of the client's own."""
    TLS_CRYPT = "tls-crypt"
    """Encrypted under a key that all clients share."""
    TLS_AUTH = "tls-auth"
    """Signed under a key that all clients share."""
    NONE = "none"
    """Not protected."""


class IgnoreReason(enum.Enum):
    """Why a packet is not answered."""

    MALFORMED = "malformed"
    """It has not the shape of any control packet."""
    NOT_A_FIRST_PACKET = "not-a-first-packet"
    """Nothing begins with it: data, a server's packet, a renegotiation, or rubbish."""
    PROTECTION_NOT_ACCEPTED = "protection-not-accepted"
    """A reset with a protection, or without one, that the endpoint does not accept."""
    WRONG_CONTROL_KEY = "wrong-control-key"
    """A reset that none of the endpoint's control-channel keys verifies."""
    UNVERIFIABLE = "unverifiable"
    """No reset, and no key verifies it: mostly from a connection that is over."""
    WRONG_COOKIE = "wrong-cookie"
    """It verifies, but echoes no cookie that this address was given lately: late, or forged."""
    LIMITED = "limited"
    """Too many answers in this window."""
    CLIENT_KEY_TOO_OLD = "client-key-too-old"
    """The tls-crypt-v2 client key is older than allowed, or does not say when it was made."""
    CLIENT_KEY_REFUSED = "client-key-refused"
    """The caller refused the metadata of the tls-crypt-v2 client key."""


@dataclass(frozen=True, slots=True)
class FrontDoorKeys:
    """Which protections an endpoint accepts: each that is given. Any subset works on one port."""

    tls_crypt_v2: ServerKey | None = None
    tls_crypt: StaticKey | None = None
    tls_auth: StaticKey | None = None
    tls_auth_direction: KeyDirection = KeyDirection.NORMAL
    """The endpoint's own, not the clients'."""
    tls_auth_digest: str = "SHA1"
    """OpenVPN's name, as in `auth`."""
    plain: bool = False
    """Accept clients without any protection."""
    max_client_key_age_s: float | None = None
    """Refuse older tls-crypt-v2 client keys, and those without a timestamp; None: all are good."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Do nothing."""

    reason: IgnoreReason


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this packet to where the other came from, and keep nothing."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class Admission:
    """Make a connection, and let it process `first` before anything else."""

    protection: Protection
    wrap: ControlWrap
    """With counters that continue what the client has seen; `first` is counted in."""
    base_key: StaticKey | None
    """What a dynamic tls-crypt key is derived from; None without protection."""
    session_id: bytes
    """The server's."""
    remote_session_id: bytes
    first: ControlPacket
    """The packet that led here, unwrapped."""
    next_send_id: int
    """Message id of the connection's first message."""
    next_receive_id: int
    """Message id that the connection expects, before it processes `first`."""
    needs_reset_reply: bool
    """The connection must begin with a HARD_RESET_SERVER_V2; False: the client has had it."""
    client_key_metadata: Metadata | None = None
    """Of a tls-crypt-v2 client key, if it has any."""


class _Opened(NamedTuple):
    """A packet that one of the keys verifies."""

    protection: Protection
    key: WrapKey
    base_key: StaticKey | None
    packet: ControlPacket
    replay_id: ReplayId | None
    metadata: Metadata | None = None

    @property
    def resends_wkc(self) -> bool:
        """The client can do early negotiation, so it will send its wrapped key again if asked."""
        return self.replay_id is not None and (
            self.replay_id.packet_id & _EARLY_NEGOTIATION_MASK == EARLY_NEGOTIATION_START
        )


def _accept_any(_metadata: Metadata | None) -> bool:
    return True


class FrontDoor:
    """Decides about first packets. Sans-IO, and stateless but for counters of answers."""

    __slots__ = ("_accept_client_key", "_cookie", "_keys", "_latest_time", "_limiters", "_random_bytes", "_shared")

    def __init__(
        self,
        keys: FrontDoorKeys,
        *,
        handshake_timeout_s: float = 60.0,
        max_replies: int = 100,
        reply_window_s: float = 10.0,
        accept_client_key: Callable[[Metadata | None], bool] = _accept_any,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`max_replies` counts those who hold a key and those without protection apart.

        `accept_client_key` is asked about each tls-crypt-v2 client that is to be admitted; it must not block.

        Raises LocalError for a tls-auth digest that does not exist.
        """
        self._keys = keys
        self._shared = tuple(_shared_keys(keys))
        self._cookie = HandshakeCookie(handshake_timeout_s, random_bytes)
        self._limiters = _reply_limiters(keys, max_replies, reply_window_s)
        self._accept_client_key = accept_client_key
        self._random_bytes = random_bytes
        self._latest_time = 0

    def receive_datagram_untrusted(
        self, data: bytes, remote: tuple[str, int], now: float, unix_time: float
    ) -> Ignored | Reply | Admission:
        """Decide about a datagram from an address that has no connection, or that resets one."""
        if (reason := _judge_shape_untrusted(data, _FIRST_DATAGRAMS)) is not None:
            return Ignored(reason)
        is_reset = opcode_of(data) in CLIENT_RESETS
        if is_reset and not any(limiter.has_room(now) for limiter in self._limiters.values()):
            return Ignored(IgnoreReason.LIMITED)
        opened = self._open_untrusted(data, unix_time)
        if isinstance(opened, Ignored):
            return opened
        if is_reset:
            return self._answer_reset_untrusted(opened, remote, now, unix_time)
        return self._admit_by_cookie_untrusted(opened, remote, now, unix_time)

    def receive_stream_untrusted(self, data: bytes, unix_time: float) -> Ignored | Admission:
        """Decide about the first packet of a stream."""
        if (reason := _judge_shape_untrusted(data, CLIENT_RESETS)) is not None:
            return Ignored(reason)
        opened = self._open_untrusted(data, unix_time)
        if isinstance(opened, Ignored):
            return opened
        # RouterOS numbers its first message 1; its stream goes on from there.
        if opened.packet.message_id not in (_RESET_ID, _FIRST_ID) or opened.packet.acks:
            return Ignored(IgnoreReason.MALFORMED)
        return self._admit_with_state(opened)

    def take_over(self, predecessor: FrontDoor) -> None:
        """Go on where another door of the same endpoint stopped: honour its cookies, and count its answers.

        With another `handshake_timeout_s` the cookies under way are lost, and their clients begin again.
        """
        self._cookie.take_over(predecessor._cookie)
        self._latest_time = predecessor._latest_time
        self._limiters[Protection.TLS_CRYPT].take_over(predecessor._limiters[Protection.TLS_CRYPT])
        if self._keys.plain and predecessor._keys.plain:
            self._limiters[Protection.NONE].take_over(predecessor._limiters[Protection.NONE])

    def handshake_completed(self) -> None:
        """Give one answer back: a client that was admitted without a cookie has proved itself since."""
        self._limiters[Protection.TLS_CRYPT_V2].give_back()

    def diagnose_untrusted(self, data: bytes) -> str:
        """Return a sentence about a packet ignored as `WRONG_CONTROL_KEY`, for the log: not for each of a flood."""
        return diagnose_control_key_untrusted(data, self._keys)

    # Opening a packet: which key is it?

    def _open_untrusted(self, data: bytes, unix_time: float) -> _Opened | Ignored:
        if opcode_of(data) in WKC_OPCODES:
            return self._open_with_client_key_untrusted(data, unix_time)
        for protection, key, base_key in self._shared:
            try:
                packet, replay_id = key.open_untrusted(data)
            except BadPacket:
                continue
            if protection is not Protection.NONE or _is_plain_opening(packet):
                return _Opened(protection, key, base_key, packet, replay_id)
        return Ignored(self._why_unopened_untrusted(data))

    def _open_with_client_key_untrusted(self, data: bytes, unix_time: float) -> _Opened | Ignored:
        if self._keys.tls_crypt_v2 is None:
            return Ignored(IgnoreReason.PROTECTION_NOT_ACCEPTED)
        try:
            data, wkc = split_wkc_untrusted(data)
        except BadPacket:
            return Ignored(IgnoreReason.MALFORMED)
        try:
            client_key, metadata = unwrap_client_key_untrusted(self._keys.tls_crypt_v2, wkc)
            key = TlsCryptWrap(client_key, server=True)
            packet, replay_id = key.open_untrusted(data)
        except BadPacket:
            return Ignored(IgnoreReason.WRONG_CONTROL_KEY)
        if self._is_too_old(metadata, unix_time):
            return Ignored(IgnoreReason.CLIENT_KEY_TOO_OLD)
        return _Opened(Protection.TLS_CRYPT_V2, key, client_key, packet, replay_id, metadata)

    def _is_too_old(self, metadata: Metadata | None, unix_time: float) -> bool:
        if self._keys.max_client_key_age_s is None:
            return False
        timestamp = None if metadata is None else metadata.timestamp
        return timestamp is None or unix_time - timestamp > self._keys.max_client_key_age_s

    def _why_unopened_untrusted(self, data: bytes) -> IgnoreReason:
        if opcode_of(data) not in CLIENT_RESETS:
            return IgnoreReason.UNVERIFIABLE
        if len(data) == _PLAIN_RESET_SIZE:
            return IgnoreReason.MALFORMED if self._keys.plain else IgnoreReason.PROTECTION_NOT_ACCEPTED
        if len(data) < _PLAIN_RESET_SIZE:
            return IgnoreReason.MALFORMED
        if self._keys.tls_crypt is None and self._keys.tls_auth is None:
            return IgnoreReason.PROTECTION_NOT_ACCEPTED
        return IgnoreReason.WRONG_CONTROL_KEY

    # Answering

    def _answer_reset_untrusted(
        self, opened: _Opened, remote: tuple[str, int], now: float, unix_time: float
    ) -> Ignored | Reply | Admission:
        packet = opened.packet
        if packet.message_id != _RESET_ID or packet.acks:
            return Ignored(IgnoreReason.MALFORMED)
        limiter = self._limiters[opened.protection]
        if not limiter.has_room(now):
            return Ignored(IgnoreReason.LIMITED)
        limiter.take()
        needs_wkc = opened.protection is Protection.TLS_CRYPT_V2
        if needs_wkc and not opened.resends_wkc:
            return self._admit_with_state(opened)
        reply = ControlPacket(
            Opcode.HARD_RESET_SERVER_V2,
            key_id=0,
            session_id=self._cookie.build(remote, packet.session_id, now),
            acks=(_RESET_ID,),
            remote_session_id=packet.session_id,
            message_id=_RESET_ID,
            payload=build_early_negotiation(EarlyNegotiation(resend_wkc=needs_wkc)),
        )
        return Reply(opened.key.seal(reply, ReplayId(self._replay_time(unix_time), 1)))

    def _admit_by_cookie_untrusted(
        self, opened: _Opened, remote: tuple[str, int], now: float, unix_time: float
    ) -> Ignored | Admission:
        packet = opened.packet
        cookie = packet.remote_session_id
        if cookie is None or not self._cookie.verify(cookie, remote, packet.session_id, now):
            return Ignored(IgnoreReason.WRONG_COOKIE)
        if max(packet.acks) > _FIRST_ID or (packet.message_id or 0) > _FIRST_ID:
            return Ignored(IgnoreReason.WRONG_COOKIE)
        self._limiters[opened.protection].give_back()
        # The client has seen replay id 1 under the time of the reply: go on after it, never before.
        wrap = ControlWrap(opened.key, next_replay_id=2, replay_time=self._replay_time(unix_time))
        return self._admit(opened, wrap, cookie, _FIRST_ID, _FIRST_ID, needs_reset_reply=False)

    def _admit_with_state(self, opened: _Opened) -> Ignored | Admission:
        session_id = self._random_bytes(SESSION_ID_SIZE)
        first_id = opened.packet.message_id or _RESET_ID
        return self._admit(opened, ControlWrap(opened.key), session_id, _RESET_ID, first_id, needs_reset_reply=True)

    def _admit(
        self,
        opened: _Opened,
        wrap: ControlWrap,
        session_id: bytes,
        next_send_id: int,
        next_receive_id: int,
        *,
        needs_reset_reply: bool,
    ) -> Ignored | Admission:
        if opened.protection is Protection.TLS_CRYPT_V2 and not self._accept_client_key(opened.metadata):
            return Ignored(IgnoreReason.CLIENT_KEY_REFUSED)
        wrap.accept(opened.replay_id)
        return Admission(
            protection=opened.protection,
            wrap=wrap,
            base_key=opened.base_key,
            session_id=session_id,
            remote_session_id=opened.packet.session_id,
            first=opened.packet,
            next_send_id=next_send_id,
            next_receive_id=next_receive_id,
            needs_reset_reply=needs_reset_reply,
            client_key_metadata=opened.metadata,
        )

    def _replay_time(self, unix_time: float) -> int:
        """Return the wall clock's time, but never an earlier one than before: the client takes that for a replay."""
        self._latest_time = max(self._latest_time, int(unix_time))
        return self._latest_time


def _shared_keys(keys: FrontDoorKeys) -> Iterator[tuple[Protection, WrapKey, StaticKey | None]]:
    """Yield the protections to try on a packet that brings no key, the most demanding first."""
    if keys.tls_crypt is not None:
        yield Protection.TLS_CRYPT, TlsCryptWrap(keys.tls_crypt, server=True), keys.tls_crypt
    if keys.tls_auth is not None:
        wrap = TlsAuthWrap(keys.tls_auth, keys.tls_auth_direction, keys.tls_auth_digest)
        yield Protection.TLS_AUTH, wrap, keys.tls_auth
    if keys.plain:
        yield Protection.NONE, PlainWrap(), None


def _reply_limiters(keys: FrontDoorKeys, max_replies: int, window_s: float) -> dict[Protection, ReplyLimiter]:
    """Make one limiter for all who hold a key, and one for the rest, whose resets anybody can make by the million."""
    limiters = dict.fromkeys(Protection, ReplyLimiter(max_replies, window_s))
    if keys.plain:
        limiters[Protection.NONE] = ReplyLimiter(max_replies, window_s)
    return limiters


def _judge_shape_untrusted(data: bytes, opcodes: frozenset[Opcode]) -> IgnoreReason | None:
    """Tell why a packet cannot be a first one, as far as that costs nothing; None if it can."""
    if not _MIN_PACKET_SIZE <= len(data) <= MAX_CONTROL_PACKET:
        return IgnoreReason.MALFORMED
    if opcode_of(data) not in opcodes or key_id_of(data) != 0:
        return IgnoreReason.NOT_A_FIRST_PACKET
    return None


def _is_plain_opening(packet: ControlPacket) -> bool:
    """Tell whether a packet that parses without protection makes sense; one under a foreign key may parse by chance."""
    return all(ack <= _FIRST_ID for ack in packet.acks) and (packet.message_id or 0) <= _FIRST_ID
