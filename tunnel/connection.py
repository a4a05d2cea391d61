"""The server's side of a connection, from the admitted first packet to the end. Sans-IO.

client                                   server
HARD_RESET_CLIENT  ───────────────────▶  `FrontDoor` answers from a cookie, keeps nothing, and admits the
                                         next packet, which a `ServerConnection` begins with
TLS ClientHello    ◀────────────────▶    TLS, the client's certificate checked
key method 2       ───────────────────▶  key method 2 at once, since without it a client reads no message;
                                         then `AuthenticationRequested`
                   ◀───────────────────  `authorize`: `KeyDerived`, PUSH_REPLY (OpenVPN 3 acknowledges first, 2.4 asks)
acknowledgement    ───────────────────▶  `KeyActivated`, `Established`
                   ◀────────────────▶    SOFT_RESET from either side: a new key on the same terms
EXIT               ───────────────────▶  `ExitRequested`, and five seconds later `Closed`
                   ◀───────────────────  `refuse`, `restart`, `halt`: a last message, then `Closed`
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunnel.association import Association, Timing
from tunnel.control_messages import AUTH_FAILED, EXIT, HALT, PUSH_REQUEST, RESTART
from tunnel.data_keys import KEY_BLOCK_SIZE, Cipher, DataKey, split_key_block
from tunnel.errors import BadPacket, HandshakeError
from tunnel.events import AuthenticationRequested, Closed, CloseReason, Established, ExitRequested
from tunnel.key_derivation import DATA_KEYS_LABEL
from tunnel.key_method import KeyMethod2, KeySource, build_key_method, derive_by_prf, parse_key_method_untrusted
from tunnel.key_session import KeyStage, KeyStep
from tunnel.negotiation import Negotiated, answer_options_string, negotiate
from tunnel.peer_info import IvProto, PeerInfo, parse_peer_info_untrusted
from tunnel.push import PushSettings, build_push_reply
from tunnel.wire import Opcode

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509
    from OpenSSL import crypto

    from tunnel.front_door import Admission
    from tunnel.key_session import KeySession
    from tunnel.tls import TlsServerContext, TlsSession

__all__ = ["ServerConfig", "ServerConnection"]

_SERVER_RANDOM_SIZE = 64

FLIGHT_S = 0.05
"""How long after a client's last packet of TLS the rest of its flight may take. It sends again after two seconds."""

_TEMPORARY = (CloseReason.POOL_EXHAUSTED, CloseReason.CLIENT_LIMIT)
"""Refusals that may not hold a minute later."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What all connections of an endpoint have in common. Times in seconds."""

    tls: TlsServerContext
    data_ciphers: tuple[Cipher, ...]
    """In order of preference."""
    auth: str = "SHA1"
    """HMAC digest of the CBC ciphers, by OpenVPN's name."""
    handshake_timeout_s: float = 60
    transition_window_s: float = 3600
    renegotiate_after_s: float = 3600
    """0 leaves renegotiation to the clients."""
    tls_ekm: bool = True
    """Derive data keys with the TLS exporter where the client can."""
    dynamic_tls_crypt: bool = True
    """Protect renegotiations with a key from the first TLS session where the client can."""


class ServerConnection(Association):
    """One client's control channel, as the gateway sees it."""

    def __init__(
        self,
        config: ServerConfig,
        admission: Admission,
        *,
        reliable_transport: bool,
        now: float,
        unix_time: Callable[[], float],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Begin with the packet that the front door admitted.

        The renegotiation time is shortened by up to a tenth at random, as OpenVPN does, so that the keys of many
        clients do not fall due together.
        """
        self._shortening = random_bytes(1)[0] / 2550
        super().__init__(
            wrap=admission.wrap,
            session_id=admission.session_id,
            timing=_timing(config, self._shortening),
            reliable_transport=reliable_transport,
            now=now,
            unix_time=unix_time,
            random_bytes=random_bytes,
        )
        self._config = config
        self._base_key = admission.base_key
        self._sources: tuple[KeySource, KeySource] | None = None
        self._push_reply: list[str] = []
        self._push_requested = False
        self.peer_info = PeerInfo()
        """What the client says about itself; empty until it has."""
        self.refused_certificate: x509.Certificate | None = None
        """The client's, where TLS refused it or negotiation failed: good for the log and for nothing else."""
        self.negotiated: Negotiated | None = None
        """How this connection works, once that is settled."""
        self.remote_session_id = admission.remote_session_id
        self._begin(admission, now)

    def _begin(self, admission: Admission, now: float) -> None:
        first = admission.first
        key = self._open_key(0, now, next_send_id=admission.next_send_id, next_receive_id=admission.next_receive_id)
        if admission.needs_reset_reply:
            key.reliability.send(Opcode.HARD_RESET_SERVER_V2, b"", now)
        try:
            self._deliver_untrusted(first, now)
        except BadPacket:
            self.bad_packets += 1
        except HandshakeError as error:
            self._fail(error, now)

    def certificate_chain(self) -> tuple[crypto.X509, ...]:
        """The client's certificates by which it was authorised last, as TLS verified them, its own first.

        Empty before the first time, and after the end.
        """
        authorized = [key for key in self._keys.values() if key.stage in (KeyStage.CONFIRMING, KeyStage.ACTIVE)]
        return authorized[-1].tls.peer_chain() if authorized else ()

    # Decisions from above

    def authorize(self, push: PushSettings | None, now: float) -> None:
        """Answer `AuthenticationRequested`: derive the key and, the first time, push the client's configuration.

        `push` is needed the first time and ignored for a renegotiation. `KeyDerived` is among the events then: its key
        must be installed before `packets_to_send` is sent, since the client may use it at once. Without effect on
        a connection that has begun to close.
        """
        key = self._keys.get(self._newest)
        if self._closing is not None or key is None or key.stage is not KeyStage.AUTHENTICATION:
            return
        negotiated = self._settled()
        self._install(key, self._derive(key, negotiated))
        if key.key_id != 0 or push is None:
            return
        if negotiated.dynamic_tls_crypt:
            self._use_dynamic_tls_crypt(self._base_key, server=True)
        self._push_reply = build_push_reply(push, negotiated, self.peer_info, datagrams=not self._reliable_transport)
        self._confirm(key, now)

    def adopt(self, config: ServerConfig, now: float) -> None:
        """Renegotiate by this configuration from now on; what was negotiated with the client stays.

        Its digest stays as well: a client's `auth` is in its profile and cannot be changed by the gateway. A key that
        is too old by the new times is renegotiated within a tenth of them, so that not all clients begin at once.
        """
        self._config = dataclasses.replace(config, auth=self._config.auth)
        timing = _timing(config, self._shortening)
        if timing != self._timing:
            self._adopt_timing(timing, earliest_renegotiation=now + self._shortening * config.renegotiate_after_s)

    def refuse(self, reason: CloseReason, text: str, now: float) -> None:
        """Turn the client away with AUTH_FAILED; its user reads `text`.

        A client that can, and that only came at a bad moment, is told to try again; any other stops.
        """
        temporary = reason in _TEMPORARY and IvProto.AUTH_FAIL_TEMP in self.peer_info.proto
        self._end_with(f"{AUTH_FAILED},{'TEMP:' if temporary else ''}{text}", Closed(reason, text), now)

    def restart(self, reason: CloseReason, text: str, now: float) -> None:
        """Ask the client to connect again, keeping its credentials."""
        self._end_with(f"{RESTART},[P]:{text}", Closed(reason, text), now)

    def halt(self, reason: CloseReason, text: str, now: float) -> None:
        """Tell the client to stop."""
        self._end_with(f"{HALT},{text}", Closed(reason, text), now)

    def _end_with(self, message: str, closed: Closed, now: float) -> None:
        if self._closing is not None or self._closed:
            return
        if self._speaker() is None:
            self._close(closed)
            return
        try:
            self._close_after(closed, now, last_words=message)
        except HandshakeError:
            self._close(closed)

    def _fail(self, error: HandshakeError, now: float) -> None:
        key = self._keys.get(self._newest)
        if key is not None:
            self.refused_certificate = key.tls.refused_certificate
        super()._fail(error, now)

    # What the client says

    def _new_tls(self) -> TlsSession:
        return self._config.tls.new_session()

    def _tls_complete(self, key: KeySession, now: float) -> None:
        """The client speaks first.

        In TLS 1.3 it does so at once, having had the handshake's last word: what there is to say meanwhile, tickets and
        acknowledgements, leaves with the answer. In TLS 1.2 it waits for the server's last word.
        """
        if key.tls.version == "TLSv1.3":
            key.silent_until = now + FLIGHT_S

    def _key_method_received(self, key: KeySession, buffer: bytes, now: float) -> bytes:
        parsed = parse_key_method_untrusted(buffer, from_client=True)
        if parsed is None:
            key.plaintext = buffer
            return b""
        block, size = parsed
        key.plaintext = b""
        key.silent_until = None
        source = KeySource.generate(self._random_bytes(_SERVER_RANDOM_SIZE))
        key.tls.write(build_key_method(KeyMethod2(source, answer_options_string(block.options))))
        key.take(KeyStep.BLOCKS_EXCHANGED)
        self._sources = (block.source, source)
        self._request_authentication(key, block, now)
        return buffer[size:]

    def _request_authentication(self, key: KeySession, block: KeyMethod2, now: float) -> None:
        renegotiation = key.key_id != 0
        if not renegotiation:
            self.peer_info = parse_peer_info_untrusted(block.peer_info)
            try:
                self.negotiated = negotiate(
                    self.peer_info,
                    block.options,
                    data_ciphers=self._config.data_ciphers,
                    tls_ekm=self._config.tls_ekm,
                    dynamic_tls_crypt=self._config.dynamic_tls_crypt,
                )
            except HandshakeError as error:
                self.refused_certificate = key.tls.peer_certificate()
                self.refuse(error.reason, error.text, now)
                return
        certificate = key.tls.peer_certificate()
        self._events.append(
            AuthenticationRequested(certificate, block.username, block.password, self.peer_info, renegotiation)
        )

    def _message_received(self, message: str, now: float) -> None:
        if message == PUSH_REQUEST:
            self._push_requested = True  # `_confirm` answers it
        elif message == EXIT:
            self._events.append(ExitRequested())
            self._close_after(Closed(CloseReason.CLIENT_EXIT, "The client left."), now, in_full=True)

    # Keys

    def _settled(self) -> Negotiated:
        if self.negotiated is None:
            raise HandshakeError(CloseReason.PROTOCOL_ERROR, "Nothing was negotiated with this client.")
        return self.negotiated

    def _derive(self, key: KeySession, negotiated: Negotiated) -> DataKey:
        by_exporter = negotiated.tls_ekm
        block = key.tls.export(DATA_KEYS_LABEL, KEY_BLOCK_SIZE) if by_exporter else self._derive_by_prf()
        self._sources = None
        send, receive = split_key_block(block, server=True)
        return DataKey(key.key_id, negotiated.cipher, send, receive, self._config.auth)

    def _derive_by_prf(self) -> bytes:
        if self._sources is None or self.remote_session_id is None:
            raise HandshakeError(CloseReason.PROTOCOL_ERROR, "There is nothing to derive a key from.")
        client, server = self._sources
        return derive_by_prf(client, server, self.remote_session_id, self.session_id)

    def _confirm(self, key: KeySession, now: float) -> bool:
        """Push once the client is ready for it; it has the key when it has acknowledged that.

        A reply that nobody asked for goes with our key-method-2 block to clients that keep it: they are connected a
        round trip sooner. With others it waits, as OpenVPN's server always does, until that block is acknowledged.
        """
        info = self.peer_info
        if (
            self._push_requested
            or info.takes_push_beside_key_method
            or (info.takes_unrequested_push and key.all_acknowledged(now))
        ):
            # Once: it is delivered reliably, and a client that asks again has not read it yet.
            messages, self._push_reply = self._push_reply, []
            for message in messages:
                self._say(message)
        return not self._push_reply and key.all_acknowledged(now)

    def _activate(self, key: KeySession, now: float) -> None:
        super()._activate(key, now)
        if key.key_id == 0:
            self._events.append(Established())


def _timing(config: ServerConfig, shortening: float) -> Timing:
    """The times of a connection, with its share of the renegotiation time taken off."""
    return Timing(
        handshake_timeout_s=config.handshake_timeout_s,
        renegotiate_after_s=config.renegotiate_after_s * (1 - shortening),
        transition_window_s=config.transition_window_s,
    )
