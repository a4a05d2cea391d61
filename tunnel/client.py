"""The client's side of a connection, as stock OpenVPN clients play it. Sans-IO.

For what Portway opens itself: tests, benchmarks and load. It shares everything but its decisions with the
server's side, and the server's tests run against it as well as against stock clients.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunnel.association import Association, Timing
from tunnel.control_messages import AUTH_FAILED, EXIT, HALT, PUSH_REPLY, PUSH_REQUEST, RESTART
from tunnel.control_wrap import ControlWrap, PlainWrap, TlsCryptWrap
from tunnel.data_keys import KEY_BLOCK_SIZE, Cipher, DataKey, split_key_block
from tunnel.errors import HandshakeError
from tunnel.events import Closed, CloseReason, Established
from tunnel.key_derivation import DATA_KEYS_LABEL
from tunnel.key_method import KeyMethod2, KeySource, build_key_method, derive_by_prf, parse_key_method_untrusted
from tunnel.key_session import KeyStage, KeyStep
from tunnel.peer_info import IvProto, build_peer_info
from tunnel.push import PushReplyReader
from tunnel.wire import (
    EARLY_NEGOTIATION_START,
    SESSION_ID_SIZE,
    WKC_OPCODES,
    Opcode,
    parse_early_negotiation_untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunnel.control_wrap import WrapKey
    from tunnel.key_session import KeySession
    from tunnel.static_key import StaticKey
    from tunnel.tls import TlsClientContext, TlsSession
    from tunnel.tls_crypt_v2 import ClientKey
    from tunnel.wire import ControlPacket

__all__ = ["MODERN_CLIENT", "ClientConfig", "ClientConnection"]

_CLIENT_RANDOM_SIZE = 112
_PEER_ID_DIGITS = 8
"""Peer ids have 24 bits."""

MODERN_CLIENT = (
    IvProto.DATA_V2
    | IvProto.REQUEST_PUSH
    | IvProto.TLS_KEY_EXPORT
    | IvProto.CC_EXIT_NOTIFY
    | IvProto.AUTH_FAIL_TEMP
    | IvProto.DYN_TLS_CRYPT
)
"""IV_PROTO of OpenVPN 2.6, as far as it concerns us."""


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What a profile says. Times in seconds."""

    tls: TlsClientContext
    wrap_key: WrapKey = field(default_factory=PlainWrap)
    """How control packets are protected; with `client_key` that decides."""
    base_key: StaticKey | None = None
    """The static key behind `wrap_key`, which dynamic tls-crypt mixes in."""
    client_key: ClientKey | None = None
    """tls-crypt-v2."""
    options: str = (
        "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 128,key-method 2,tls-client"
    )
    proto: IvProto = MODERN_CLIENT
    ciphers: tuple[str, ...] = ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")
    extra_peer_info: tuple[tuple[str, str], ...] = (("IV_VER", "2.6.14"), ("IV_PLAT", "linux"), ("IV_MTU", "1600"))
    username: str = ""
    password: str = field(default="", repr=False)
    auth: str = "SHA1"
    handshake_timeout_s: float = 60
    renegotiate_after_s: float = 0
    transition_window_s: float = 3600


class ClientConnection(Association):
    """One connection to a gateway; begins with its construction."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        reliable_transport: bool,
        now: float,
        unix_time: Callable[[], float],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Queue the first reset; `packets_to_send` has it."""
        self._config = config
        super().__init__(
            wrap=_wrap_of(config),
            session_id=random_bytes(SESSION_ID_SIZE),
            timing=Timing(
                handshake_timeout_s=config.handshake_timeout_s,
                renegotiate_after_s=config.renegotiate_after_s,
                transition_window_s=config.transition_window_s,
            ),
            reliable_transport=reliable_transport,
            now=now,
            unix_time=unix_time,
            random_bytes=random_bytes,
        )
        self._source = KeySource.generate(random_bytes(_CLIENT_RANDOM_SIZE))
        self._server_source: KeySource | None = None
        self._push_reply = PushReplyReader()
        self._resend_wkc = False
        self.options: tuple[str, ...] = ()
        """What the server has pushed; empty before `Established`."""
        reset = Opcode.HARD_RESET_CLIENT_V2 if config.client_key is None else Opcode.HARD_RESET_CLIENT_V3
        self._open_key(0, now).reliability.send(reset, b"", now)

    @property
    def peer_id(self) -> int | None:
        """The pushed peer id; None before the push, or where the server uses DATA_V1."""
        value = self._pushed("peer-id")
        return int(value) if value is not None and value.isdecimal() and len(value) <= _PEER_ID_DIGITS else None

    def exit(self, now: float) -> None:
        """Say that this client leaves, and close."""
        if self._closing is None and self._say(EXIT):
            self._close_after(Closed(CloseReason.CLIENT_EXIT, "This client left."), now)

    def _pushed(self, name: str) -> str | None:
        return next((option.partition(" ")[2] for option in self.options if option.partition(" ")[0] == name), None)

    # What the server says

    def _new_tls(self) -> TlsSession:
        return self._config.tls.new_session()

    def _deliver_untrusted(self, packet: ControlPacket, now: float) -> None:
        if packet.opcode is Opcode.HARD_RESET_SERVER_V2:
            self._resend_wkc = parse_early_negotiation_untrusted(packet.payload).resend_wkc
        super()._deliver_untrusted(packet, now)

    def _tls_complete(self, key: KeySession, now: float) -> None:  # noqa: ARG002 - one face
        if key.key_id != 0:
            self._source = KeySource.generate(self._random_bytes(_CLIENT_RANDOM_SIZE))
        config = self._config
        values = dict(config.extra_peer_info) | {
            "IV_PROTO": str(int(config.proto)),
            "IV_CIPHERS": ":".join(config.ciphers),
        }
        block = KeyMethod2(self._source, config.options, config.username, config.password, build_peer_info(values))
        key.tls.write(build_key_method(block))

    def _key_method_received(self, key: KeySession, buffer: bytes, now: float) -> bytes:  # noqa: ARG002 - one face
        parsed = parse_key_method_untrusted(buffer, from_client=False)
        if parsed is None:
            key.plaintext = buffer
            return b""
        block, size = parsed
        key.plaintext = b""
        key.take(KeyStep.BLOCKS_EXCHANGED)
        self._server_source = block.source
        if key.key_id != 0:
            self._install(key, self._derive(key))
        elif IvProto.REQUEST_PUSH not in self._config.proto:
            self._say(PUSH_REQUEST)
        return buffer[size:]

    def _message_received(self, message: str, now: float) -> None:
        word = message.partition(",")[0]
        if word == PUSH_REPLY:
            self._configure(message)
        elif word == AUTH_FAILED:
            self._close_after(Closed(CloseReason.AUTHENTICATION_FAILED, message), now, in_full=True)
        elif word in (RESTART, HALT):
            self._close_after(Closed(CloseReason.TERMINATED, message), now, in_full=True)

    def _configure(self, message: str) -> None:
        options = self._push_reply.feed_untrusted(message)
        key = self._keys[self._newest]
        if options is None or key.stage is not KeyStage.AUTHENTICATION:
            return
        self.options = tuple(options)
        self._install(key, self._derive(key))
        if "dyn-tls-crypt" in self._flags():
            base_key = self._config.base_key if self._config.client_key is None else self._config.client_key.key
            self._use_dynamic_tls_crypt(base_key, server=False)

    def _flags(self) -> list[str]:
        return (self._pushed("protocol-flags") or "").split()

    def _derive(self, key: KeySession) -> DataKey:
        if "tls-ekm" in self._flags() or self._pushed("key-derivation") == "tls-ekm":
            block = key.tls.export(DATA_KEYS_LABEL, KEY_BLOCK_SIZE)
        elif self._server_source is None or self.remote_session_id is None:
            raise HandshakeError(CloseReason.PROTOCOL_ERROR, "There is nothing to derive a key from.")
        else:
            block = derive_by_prf(self._source, self._server_source, self.session_id, self.remote_session_id)
        send, receive = split_key_block(block, server=False)
        return DataKey(key.key_id, self._pushed_cipher(), send, receive, self._config.auth)

    def _pushed_cipher(self) -> Cipher:
        name = self._pushed("cipher") or Cipher.AES_256_GCM.value
        try:
            return Cipher(name)
        except ValueError:
            text = f"The server wants the cipher {name}, which is not known here."
            raise HandshakeError(CloseReason.NO_COMMON_CIPHER, text) from None

    def _confirm(self, key: KeySession, now: float) -> bool:  # noqa: ARG002 - one face
        """The server had the key before this side could."""
        return True

    def _activate(self, key: KeySession, now: float) -> None:
        super()._activate(key, now)
        if key.key_id == 0:
            self._events.append(Established())

    # tls-crypt-v2

    def _seal(self, packet: ControlPacket) -> bytes:
        """Add the wrapped key to the reset, and to the packet behind it where the server kept no state."""
        client_key = self._config.client_key
        if self._resend_wkc and packet.opcode is Opcode.CONTROL_V1 and packet.key_id == 0 and packet.message_id == 1:
            packet = packet._replace(opcode=Opcode.CONTROL_WKC_V1)
        sealed = super()._seal(packet)
        return sealed + client_key.wkc if client_key is not None and packet.opcode in WKC_OPCODES else sealed


def _wrap_of(config: ClientConfig) -> ControlWrap:
    if config.client_key is None:
        return ControlWrap(config.wrap_key)
    wrap_key = TlsCryptWrap(config.client_key.key, server=False)
    return ControlWrap(wrap_key, next_replay_id=EARLY_NEGOTIATION_START + 1)
