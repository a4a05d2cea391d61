"""A client before the front door, and what it may be told."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.unit.tunnel.vectors import CLIENT, KEY
from tunnel.control_wrap import ControlWrap, PlainWrap, TlsAuthWrap, TlsCryptWrap, WrapKey
from tunnel.front_door import Admission, FrontDoor, FrontDoorKeys, Ignored, IgnoreReason, Protection, Reply
from tunnel.static_key import KeyDirection, StaticKey
from tunnel.tls_crypt_v2 import (
    Metadata,
    generate_client_key,
    generate_server_key,
)
from tunnel.wire import (
    EARLY_NEGOTIATION_START,
    ControlPacket,
    Opcode,
)

__all__ = [
    "ALL_KEYS",
    "BASE_KEYS",
    "CLIENT_KEY",
    "NOW",
    "REMOTE",
    "SERVER_KEY",
    "TLS_AUTH_KEY",
    "TLS_CRYPT_KEY",
    "UNIX_TIME",
    "Client",
    "admitted",
    "client",
    "every_protection",
    "every_wrapped",
    "ignored",
    "knock",
    "only",
]

REMOTE = ("192.0.2.7", 40000)
NOW = 5000.0
UNIX_TIME = 1_700_000_000.25

TLS_CRYPT_KEY = StaticKey(KEY.octets[::-1])
TLS_AUTH_KEY = KEY
SERVER_KEY = generate_server_key()
CLIENT_KEY = generate_client_key(SERVER_KEY, Metadata.created_at(UNIX_TIME - 1000))
ALL_KEYS = FrontDoorKeys(tls_crypt_v2=SERVER_KEY, tls_crypt=TLS_CRYPT_KEY, tls_auth=TLS_AUTH_KEY, plain=True)


@dataclass
class Client:
    """What a client does before TLS begins."""

    key: WrapKey
    wkc: bytes = b""
    first_replay_id: int = 1

    def __post_init__(self) -> None:
        self.wrap = ControlWrap(self.key, next_replay_id=self.first_replay_id)

    def build(self, packet: ControlPacket) -> bytes:
        sealed = self.wrap.wrap(packet, UNIX_TIME)
        return sealed + self.wkc if packet.opcode in (Opcode.HARD_RESET_CLIENT_V3, Opcode.CONTROL_WKC_V1) else sealed

    def reset(self, message_id: int = 0) -> bytes:
        opcode = Opcode.HARD_RESET_CLIENT_V3 if self.wkc else Opcode.HARD_RESET_CLIENT_V2
        return self.build(ControlPacket(opcode, 0, CLIENT, message_id=message_id))

    def read(self, reply: Ignored | Reply | Admission) -> ControlPacket:
        assert isinstance(reply, Reply)
        return self.wrap.unwrap_untrusted(reply.packet)

    def returning(self, cookie: bytes, opcode: Opcode | None = None) -> ControlPacket:
        kind = opcode or (Opcode.CONTROL_WKC_V1 if self.wkc else Opcode.CONTROL_V1)
        return ControlPacket(kind, 0, CLIENT, (0,), cookie, None if kind is Opcode.ACK_V1 else 1)


def client(protection: Protection) -> Client:
    match protection:
        case Protection.TLS_CRYPT_V2:
            return Client(TlsCryptWrap(CLIENT_KEY.key, server=False), CLIENT_KEY.wkc, EARLY_NEGOTIATION_START + 1)
        case Protection.TLS_CRYPT:
            return Client(TlsCryptWrap(TLS_CRYPT_KEY, server=False))
        case Protection.TLS_AUTH:
            return Client(TlsAuthWrap(TLS_AUTH_KEY, KeyDirection.INVERSE))
        case Protection.NONE:
            return Client(PlainWrap())


BASE_KEYS = {
    Protection.TLS_CRYPT_V2: CLIENT_KEY.key,
    Protection.TLS_CRYPT: TLS_CRYPT_KEY,
    Protection.TLS_AUTH: TLS_AUTH_KEY,
    Protection.NONE: None,
}


def only(*accepted: Protection) -> FrontDoorKeys:
    return FrontDoorKeys(
        tls_crypt_v2=SERVER_KEY if Protection.TLS_CRYPT_V2 in accepted else None,
        tls_crypt=TLS_CRYPT_KEY if Protection.TLS_CRYPT in accepted else None,
        tls_auth=TLS_AUTH_KEY if Protection.TLS_AUTH in accepted else None,
        plain=Protection.NONE in accepted,
    )


def knock(door: FrontDoor, data: bytes, now: float = NOW, unix_time: float = UNIX_TIME) -> Ignored | Reply | Admission:
    return door.receive_datagram_untrusted(data, REMOTE, now, unix_time)


def admitted(decision: Ignored | Reply | Admission) -> Admission:
    assert isinstance(decision, Admission), decision
    return decision


def ignored(decision: Ignored | Reply | Admission) -> IgnoreReason:
    assert isinstance(decision, Ignored), decision
    return decision.reason


every_protection = pytest.mark.parametrize("protection", Protection, ids=lambda protection: protection.value)
every_wrapped = pytest.mark.parametrize(
    "protection", [p for p in Protection if p is not Protection.NONE], ids=lambda protection: protection.value
)
