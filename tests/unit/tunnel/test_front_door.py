from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass, replace

import pytest

from tests.unit.tunnel.mangling import mangled
from tests.unit.tunnel.vectors import CAPTURED, CLIENT, KEY
from tunnel.control_wrap import ControlWrap, PlainWrap, TlsAuthWrap, TlsCryptWrap, WrapKey
from tunnel.errors import BadPacket, LocalError
from tunnel.front_door import Admission, FrontDoor, FrontDoorKeys, Ignored, IgnoreReason, Protection, Reply
from tunnel.replay_window import ReplayId
from tunnel.static_key import KeyDirection, StaticKey, parse_static_key
from tunnel.tls_crypt_v2 import (
    ClientKey,
    Metadata,
    ServerKey,
    generate_client_key,
    generate_server_key,
    parse_server_key,
    wrap_client_key,
)
from tunnel.wire import (
    EARLY_NEGOTIATION_START,
    ControlPacket,
    Opcode,
    parse_early_negotiation_untrusted,
)

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


# The stateless handshake


@every_protection
def test_a_reset_is_answered_with_a_server_reset_that_acknowledges_it(protection: Protection) -> None:
    peer = client(protection)
    reply = peer.read(knock(FrontDoor(ALL_KEYS), peer.reset()))
    assert (reply.opcode, reply.key_id, reply.message_id) == (Opcode.HARD_RESET_SERVER_V2, 0, 0)
    assert (reply.acks, reply.remote_session_id) == ((0,), CLIENT)
    assert parse_early_negotiation_untrusted(reply.payload).resend_wkc is (protection is Protection.TLS_CRYPT_V2)


@pytest.mark.parametrize(
    ("protection", "opcode"),
    [
        (Protection.TLS_CRYPT_V2, Opcode.CONTROL_WKC_V1),
        (Protection.TLS_CRYPT, Opcode.CONTROL_V1),
        (Protection.TLS_CRYPT, Opcode.ACK_V1),
        (Protection.TLS_AUTH, Opcode.CONTROL_V1),
        (Protection.TLS_AUTH, Opcode.ACK_V1),
        (Protection.NONE, Opcode.CONTROL_V1),
        (Protection.NONE, Opcode.ACK_V1),
    ],
)
def test_a_client_that_brings_the_cookie_back_is_admitted(protection: Protection, opcode: Opcode) -> None:
    door, peer = FrontDoor(ALL_KEYS), client(protection)
    cookie = peer.read(knock(door, peer.reset())).session_id
    packet = peer.returning(cookie, opcode)
    admission = admitted(knock(door, peer.build(packet), NOW + 1))
    assert admission.protection is protection
    assert admission.base_key == BASE_KEYS[protection]
    assert admission.first == packet
    assert (admission.session_id, admission.remote_session_id) == (cookie, CLIENT)
    assert (admission.next_send_id, admission.next_receive_id) == (1, 1)
    assert not admission.needs_reset_reply


@every_wrapped
def test_an_admitted_connection_continues_the_counters_of_the_reply(protection: Protection) -> None:
    door, peer = FrontDoor(ALL_KEYS), client(protection)
    reply = knock(door, peer.reset())
    assert isinstance(reply, Reply)
    cookie = peer.wrap.unwrap_untrusted(reply.packet).session_id
    returning = peer.build(peer.returning(cookie))
    # The wall clock may even have gone back in between.
    admission = admitted(knock(door, returning, unix_time=UNIX_TIME - 3600))
    following = admission.wrap.wrap(ControlPacket(Opcode.CONTROL_V1, 0, cookie, (1,), CLIENT, 1), UNIX_TIME - 3600)
    assert peer.key.open_untrusted(reply.packet)[1] == ReplayId(int(UNIX_TIME), 1)
    assert peer.key.open_untrusted(following)[1] == ReplayId(int(UNIX_TIME), 2)
    peer.wrap.unwrap_untrusted(following)
    if not peer.wkc:
        with pytest.raises(BadPacket, match="replayed"):
            admission.wrap.unwrap_untrusted(returning)


@every_protection
def test_a_repeated_reset_gets_the_same_answer_again(protection: Protection) -> None:
    door, peer = FrontDoor(ALL_KEYS), client(protection)
    first = peer.key.open_untrusted(reply_packet(knock(door, peer.reset())))
    second = peer.key.open_untrusted(reply_packet(knock(door, peer.reset(), unix_time=UNIX_TIME + 2)))
    assert first[0] == second[0]
    assert protection is Protection.NONE or second[1] == ReplayId(int(UNIX_TIME) + 2, 1)


def reply_packet(decision: Ignored | Reply | Admission) -> bytes:
    assert isinstance(decision, Reply)
    return decision.packet


def test_no_reply_is_more_than_twice_the_reset() -> None:
    for protection in Protection:
        reset = client(protection).reset()
        assert len(reply_packet(knock(FrontDoor(ALL_KEYS), reset))) < 2 * len(reset)


@every_protection
def test_a_wrong_cookie_admits_nobody(protection: Protection) -> None:
    door, peer = FrontDoor(ALL_KEYS), client(protection)
    cookie = peer.read(knock(door, peer.reset())).session_id
    for wrong in (b"\xff" * 8, CLIENT, bytes(7) + b"\1", cookie[::-1], bytes([cookie[0] ^ 1]) + cookie[1:]):
        assert ignored(knock(door, peer.build(peer.returning(wrong)))) is IgnoreReason.WRONG_COOKIE
    admitted(knock(door, peer.build(peer.returning(cookie))))


@every_protection
def test_a_cookie_admits_for_three_time_slots_and_no_longer(protection: Protection) -> None:
    door, peer = FrontDoor(ALL_KEYS, handshake_timeout_s=59), client(protection)  # slots of 30 s
    start = 30 * 200.0
    cookie = peer.read(knock(door, peer.reset(), start)).session_id
    for later in (0, 29.9, 30, 60, 89.9):
        admitted(knock(door, peer.build(peer.returning(cookie)), start + later))
    for later in (90, 120, 3600):
        assert ignored(knock(door, peer.build(peer.returning(cookie)), start + later)) is IgnoreReason.WRONG_COOKIE


@every_protection
@pytest.mark.parametrize("remote", [("192.0.2.8", REMOTE[1]), (REMOTE[0], 40001)])
def test_a_cookie_admits_nobody_at_another_address(protection: Protection, remote: tuple[str, int]) -> None:
    door, peer = FrontDoor(ALL_KEYS), client(protection)
    cookie = peer.read(knock(door, peer.reset())).session_id
    stolen = door.receive_datagram_untrusted(peer.build(peer.returning(cookie)), remote, NOW, UNIX_TIME)
    assert ignored(stolen) is IgnoreReason.WRONG_COOKIE


def test_a_cookie_admits_no_other_client_session() -> None:
    door, peer = FrontDoor(ALL_KEYS), client(Protection.TLS_CRYPT)
    cookie = peer.read(knock(door, peer.reset())).session_id
    packet = replace(peer.returning(cookie), session_id=b"\x99" * 8)
    assert ignored(knock(door, peer.build(packet))) is IgnoreReason.WRONG_COOKIE


@every_protection
@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({"acks": (0, 1)}, True),
        ({"acks": (2,)}, False),
        ({"acks": (0, 2)}, False),
        ({"acks": (0xFFFFFFFF,)}, False),
        ({"message_id": 0}, True),
        ({"message_id": 2}, False),
        ({"message_id": 0xFFFFFFFF}, False),
        ({"acks": (), "remote_session_id": None}, False),
    ],
)
def test_only_the_first_ids_of_a_handshake_are_admitted(
    protection: Protection, change: dict[str, object], *, good: bool
) -> None:
    door, peer = FrontDoor(ALL_KEYS), client(protection)
    cookie = peer.read(knock(door, peer.reset())).session_id
    packet: ControlPacket = replace(peer.returning(cookie), **change)  # type: ignore[arg-type]
    decision = knock(door, peer.build(packet))
    assert isinstance(decision, Admission if good else Ignored)


def test_a_restarted_gateway_knows_no_old_cookie() -> None:
    peer = client(Protection.TLS_CRYPT)
    cookie = peer.read(knock(FrontDoor(ALL_KEYS), peer.reset())).session_id
    assert ignored(knock(FrontDoor(ALL_KEYS), peer.build(peer.returning(cookie)))) is IgnoreReason.WRONG_COOKIE


# tls-crypt-v2


def test_a_client_without_early_negotiation_is_admitted_at_once_and_owed_the_reset() -> None:
    peer = Client(TlsCryptWrap(CLIENT_KEY.key, server=False), CLIENT_KEY.wkc)
    admission = admitted(knock(FrontDoor(ALL_KEYS, random_bytes=lambda size: b"\x05" * size), peer.reset()))
    assert admission.protection is Protection.TLS_CRYPT_V2
    assert admission.needs_reset_reply
    assert (admission.next_send_id, admission.next_receive_id) == (0, 0)
    assert admission.first.opcode is Opcode.HARD_RESET_CLIENT_V3
    assert admission.session_id == b"\x05" * 8
    assert admission.base_key == CLIENT_KEY.key
    reply = ControlPacket(Opcode.HARD_RESET_SERVER_V2, 0, admission.session_id, (0,), CLIENT, 0)
    assert peer.wrap.unwrap_untrusted(admission.wrap.wrap(reply, UNIX_TIME)) == reply


def test_early_negotiation_is_recognised_in_every_repetition_of_the_reset() -> None:
    door, peer = FrontDoor(ALL_KEYS), client(Protection.TLS_CRYPT_V2)
    assert all(isinstance(knock(door, peer.reset()), Reply) for _ in range(20))


def test_the_metadata_of_the_client_key_is_handed_on() -> None:
    admission, asked = admit_v2(CLIENT_KEY, FrontDoorKeys(tls_crypt_v2=SERVER_KEY))
    assert admitted(admission).client_key_metadata == Metadata.created_at(UNIX_TIME - 1000)
    assert asked == [Metadata.created_at(UNIX_TIME - 1000)]


def admit_v2(
    key: ClientKey, keys: FrontDoorKeys, *, accept: bool = True
) -> tuple[Ignored | Reply | Admission, list[Metadata | None]]:
    asked: list[Metadata | None] = []

    def accept_client_key(metadata: Metadata | None) -> bool:
        asked.append(metadata)
        return accept

    door = FrontDoor(keys, accept_client_key=accept_client_key)
    peer = Client(TlsCryptWrap(key.key, server=False), key.wkc, EARLY_NEGOTIATION_START + 1)
    reply = knock(door, peer.reset())
    if isinstance(reply, Ignored):
        return reply, asked
    return knock(door, peer.build(peer.returning(peer.read(reply).session_id))), asked


def test_the_caller_may_refuse_a_client_key_by_its_metadata() -> None:
    decision, asked = admit_v2(CLIENT_KEY, FrontDoorKeys(tls_crypt_v2=SERVER_KEY), accept=False)
    assert ignored(decision) is IgnoreReason.CLIENT_KEY_REFUSED
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("metadata", "good"),
    [
        (Metadata.created_at(UNIX_TIME - 99), True),
        (Metadata.created_at(UNIX_TIME + 99), True),
        (Metadata.created_at(UNIX_TIME - 102), False),
        (Metadata(Metadata.USER, b"alice"), False),
        (Metadata(Metadata.TIMESTAMP, b"short"), False),
        (None, False),
    ],
)
def test_old_client_keys_are_refused_where_an_age_is_set(metadata: Metadata | None, *, good: bool) -> None:
    key = generate_client_key(SERVER_KEY, metadata)
    limited, _ = admit_v2(key, FrontDoorKeys(tls_crypt_v2=SERVER_KEY, max_client_key_age_s=100))
    unlimited, _ = admit_v2(key, FrontDoorKeys(tls_crypt_v2=SERVER_KEY))
    assert isinstance(unlimited, Admission)
    assert isinstance(limited, Admission) if good else ignored(limited) is IgnoreReason.CLIENT_KEY_TOO_OLD


def test_a_client_key_of_another_server_is_the_wrong_control_key() -> None:
    key = generate_client_key(ServerKey(bytes(128)), None)
    decision, _ = admit_v2(key, FrontDoorKeys(tls_crypt_v2=SERVER_KEY))
    assert ignored(decision) is IgnoreReason.WRONG_CONTROL_KEY


def test_a_packet_under_another_key_than_the_wrapped_one_is_the_wrong_control_key() -> None:
    peer = Client(TlsCryptWrap(TLS_CRYPT_KEY, server=False), CLIENT_KEY.wkc, EARLY_NEGOTIATION_START + 1)
    assert ignored(knock(FrontDoor(ALL_KEYS), peer.reset())) is IgnoreReason.WRONG_CONTROL_KEY


def test_an_impossible_length_of_the_wrapped_key_is_malformed() -> None:
    reset = client(Protection.TLS_CRYPT_V2).reset()
    for length in (0, 289, 1025, len(reset) - 48, 0xFFFF):
        damaged = reset[:-2] + length.to_bytes(2, "big")
        assert ignored(knock(FrontDoor(ALL_KEYS), damaged)) is IgnoreReason.MALFORMED


# Several protections on one port


@pytest.mark.parametrize("count", range(1, 5))
def test_any_subset_of_protections_works_on_one_port(count: int) -> None:
    for accepted in itertools.combinations(Protection, count):
        for protection in Protection:
            decision = knock(FrontDoor(only(*accepted)), client(protection).reset())
            if protection in accepted:
                assert isinstance(decision, Reply)
            else:
                assert ignored(decision) in (IgnoreReason.PROTECTION_NOT_ACCEPTED, IgnoreReason.WRONG_CONTROL_KEY)


@pytest.mark.parametrize("accepted", [p for p in Protection if p is not Protection.NONE], ids=lambda p: p.value)
def test_an_unprotected_reset_is_told_apart_where_it_is_not_accepted(accepted: Protection) -> None:
    decision = knock(FrontDoor(only(accepted)), client(Protection.NONE).reset())
    assert ignored(decision) is IgnoreReason.PROTECTION_NOT_ACCEPTED


def test_an_unprotected_packet_is_not_admitted_by_a_cookie_where_none_is_not_accepted() -> None:
    door, peer = FrontDoor(only(Protection.TLS_CRYPT)), client(Protection.TLS_CRYPT)
    cookie = peer.read(knock(door, peer.reset())).session_id
    stranger = client(Protection.NONE)
    assert ignored(knock(door, stranger.build(stranger.returning(cookie)))) is IgnoreReason.UNVERIFIABLE


@pytest.mark.parametrize(
    ("accepted", "stranger"),
    [
        (Protection.TLS_AUTH, Protection.TLS_CRYPT),
        (Protection.TLS_CRYPT, Protection.TLS_AUTH),
        (Protection.TLS_CRYPT_V2, Protection.TLS_CRYPT),
        (Protection.NONE, Protection.TLS_CRYPT),
        (Protection.TLS_CRYPT, Protection.TLS_CRYPT_V2),
    ],
)
def test_a_protection_that_is_not_accepted_is_ignored(accepted: Protection, stranger: Protection) -> None:
    reason = ignored(knock(FrontDoor(only(accepted)), client(stranger).reset()))
    shared = accepted in (Protection.TLS_AUTH, Protection.TLS_CRYPT) and stranger is not Protection.TLS_CRYPT_V2
    expected = IgnoreReason.WRONG_CONTROL_KEY if shared else IgnoreReason.PROTECTION_NOT_ACCEPTED
    assert reason is expected


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        TlsCryptWrap(StaticKey(bytes(256)), server=False),
        TlsAuthWrap(StaticKey(bytes(256)), KeyDirection.INVERSE),
        TlsAuthWrap(TLS_AUTH_KEY, KeyDirection.NORMAL),
        TlsAuthWrap(TLS_AUTH_KEY, KeyDirection.INVERSE, "SHA512"),
    ],
    ids=["foreign tls-crypt", "foreign tls-auth", "wrong direction", "wrong digest"],
)
def test_a_reset_under_a_wrong_key_is_told_apart(wrap: WrapKey, *, plain: bool) -> None:
    keys = replace(ALL_KEYS, plain=plain)
    reset = Client(wrap).reset()
    assert ignored(knock(FrontDoor(keys), reset)) is IgnoreReason.WRONG_CONTROL_KEY
    assert ignored(FrontDoor(keys).receive_stream_untrusted(reset, UNIX_TIME)) is IgnoreReason.WRONG_CONTROL_KEY


@pytest.mark.parametrize("digest", ["SHA1", "SHA256", "SHA512"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (KeyDirection.NORMAL, KeyDirection.INVERSE),
        (KeyDirection.INVERSE, KeyDirection.NORMAL),
        (KeyDirection.BIDIRECTIONAL, KeyDirection.BIDIRECTIONAL),
    ],
)
def test_tls_auth_works_with_each_digest_and_direction(digest: str, ours: KeyDirection, theirs: KeyDirection) -> None:
    door = FrontDoor(replace(ALL_KEYS, tls_auth_direction=ours, tls_auth_digest=digest))
    peer = Client(TlsAuthWrap(TLS_AUTH_KEY, theirs, digest))
    cookie = peer.read(knock(door, peer.reset())).session_id
    assert admitted(knock(door, peer.build(peer.returning(cookie)))).protection is Protection.TLS_AUTH


def test_an_impossible_digest_is_the_administrators_mistake() -> None:
    with pytest.raises(LocalError):
        FrontDoor(replace(ALL_KEYS, tls_auth_digest="MD6"))


CAPTURED_RESETS: dict[str, str] = json.loads((CAPTURED / "client-resets.json").read_text())
STATIC_KEY = parse_static_key((CAPTURED / "static.key").read_text())
CAPTURED_KEYS = {
    "plain": FrontDoorKeys(plain=True),
    "tls-auth-sha1": FrontDoorKeys(tls_auth=STATIC_KEY),
    "tls-auth-sha256": FrontDoorKeys(tls_auth=STATIC_KEY, tls_auth_digest="SHA256"),
    "tls-auth-sha512-bidirectional": FrontDoorKeys(
        tls_auth=STATIC_KEY, tls_auth_direction=KeyDirection.BIDIRECTIONAL, tls_auth_digest="SHA512"
    ),
    "tls-crypt": FrontDoorKeys(tls_crypt=STATIC_KEY),
    "tls-crypt-v2": FrontDoorKeys(tls_crypt_v2=parse_server_key((CAPTURED / "v2-server.key").read_text())),
}


@pytest.mark.parametrize("name", CAPTURED_RESETS)
def test_the_resets_of_the_stock_client_are_answered_under_their_keys_only(name: str) -> None:
    reset = bytes.fromhex(CAPTURED_RESETS[name])
    for other, keys in CAPTURED_KEYS.items():
        decision = knock(FrontDoor(keys), reset)
        assert isinstance(decision, Reply if other == name else Ignored)


# Limits


@every_protection
def test_no_more_resets_are_answered_than_the_limit_allows(protection: Protection) -> None:
    door, peer = FrontDoor(ALL_KEYS, max_replies=3, reply_window_s=10), client(protection)
    decisions = [knock(door, peer.reset(), NOW + second) for second in range(5)]
    assert [type(decision) for decision in decisions] == [Reply] * 3 + [Ignored] * 2
    assert ignored(decisions[-1]) is IgnoreReason.LIMITED
    assert isinstance(knock(door, peer.reset(), NOW + 10), Reply)


def test_resets_that_are_not_answered_use_up_no_room() -> None:
    door = FrontDoor(ALL_KEYS, max_replies=1)
    stranger = Client(TlsCryptWrap(StaticKey(bytes(256)), server=False))
    for _ in range(5):
        assert ignored(knock(door, stranger.reset())) is IgnoreReason.WRONG_CONTROL_KEY
    assert isinstance(knock(door, client(Protection.TLS_CRYPT).reset()), Reply)


def test_each_completed_handshake_gives_one_answer_back() -> None:
    door, peer = FrontDoor(ALL_KEYS, max_replies=1), client(Protection.TLS_CRYPT)
    cookie = peer.read(knock(door, peer.reset())).session_id
    assert ignored(knock(door, peer.reset())) is IgnoreReason.LIMITED
    admitted(knock(door, peer.build(peer.returning(cookie))))
    assert isinstance(knock(door, peer.reset()), Reply)


def test_an_admission_without_a_cookie_counts_until_its_handshake_is_complete() -> None:
    door = FrontDoor(ALL_KEYS, max_replies=1)
    peer = Client(TlsCryptWrap(CLIENT_KEY.key, server=False), CLIENT_KEY.wkc)
    admitted(knock(door, peer.reset()))
    assert ignored(knock(door, peer.reset())) is IgnoreReason.LIMITED
    door.handshake_completed()
    admitted(knock(door, peer.reset()))


def test_the_limit_does_not_keep_out_those_who_have_a_cookie() -> None:
    door, peer = FrontDoor(ALL_KEYS, max_replies=1), client(Protection.NONE)
    cookie = peer.read(knock(door, peer.reset())).session_id
    assert ignored(knock(door, peer.reset())) is IgnoreReason.LIMITED
    admitted(knock(door, peer.build(peer.returning(cookie))))


@pytest.mark.parametrize("max_replies", [100, 10**9], ids=["limited", "all answered"])
@pytest.mark.parametrize(
    ("protection", "count"),
    [(Protection.NONE, 200_000), (Protection.TLS_CRYPT, 20_000), (Protection.TLS_CRYPT_V2, 20_000)],
)
def test_a_flood_of_spoofed_resets_leaves_nothing_behind(protection: Protection, count: int, max_replies: int) -> None:
    door = FrontDoor(ALL_KEYS, max_replies=max_replies)
    reset = bytearray(client(protection).reset())

    def flood(count: int) -> None:
        for number in range(count):
            if protection is Protection.NONE:
                reset[5:9] = number.to_bytes(4, "big")
            door.receive_datagram_untrusted(bytes(reset), (f"10.0.{number % 256}.1", number % 65536), NOW, UNIX_TIME)

    flood(1000)  # whatever is made once, is made now
    before = sys.getallocatedblocks()
    flood(count)
    assert sys.getallocatedblocks() - before < 500


# Streams


@every_protection
def test_a_streams_first_reset_is_admitted_and_owed_the_reset(protection: Protection) -> None:
    peer = client(protection)
    admission = admitted(FrontDoor(ALL_KEYS).receive_stream_untrusted(peer.reset(), UNIX_TIME))
    assert admission.protection is protection
    assert admission.base_key == BASE_KEYS[protection]
    assert admission.needs_reset_reply
    assert (admission.next_send_id, admission.next_receive_id) == (0, 0)
    assert admission.first.session_id == admission.remote_session_id == CLIENT
    packet = ControlPacket(Opcode.HARD_RESET_SERVER_V2, 0, admission.session_id, (0,), CLIENT, 0)
    sealed = admission.wrap.wrap(packet, UNIX_TIME + 5)
    assert peer.key.open_untrusted(sealed) == (
        packet,
        None if protection is Protection.NONE else ReplayId(int(UNIX_TIME) + 5, 1),
    )


@every_protection
def test_a_streams_first_reset_may_be_numbered_one_as_routeros_does(protection: Protection) -> None:
    admission = admitted(FrontDoor(ALL_KEYS).receive_stream_untrusted(client(protection).reset(1), UNIX_TIME))
    assert admission.next_receive_id == 1
    assert admission.next_send_id == 0


@every_protection
def test_a_streams_first_packet_is_a_reset_with_an_early_id_or_ignored(protection: Protection) -> None:
    door, peer = FrontDoor(ALL_KEYS), client(protection)
    assert isinstance(door.receive_stream_untrusted(peer.reset(2), UNIX_TIME), Ignored)
    returning = peer.build(peer.returning(b"\x01" * 8))
    assert ignored(door.receive_stream_untrusted(returning, UNIX_TIME)) is IgnoreReason.NOT_A_FIRST_PACKET


def test_each_stream_has_a_session_id_of_its_own() -> None:
    door, reset = FrontDoor(ALL_KEYS), client(Protection.NONE).reset()
    ids = {admitted(door.receive_stream_untrusted(reset, UNIX_TIME)).session_id for _ in range(50)}
    assert len(ids) == 50


# Bad input


@pytest.mark.parametrize(
    ("opcode", "key_id"),
    [(opcode, key_id) for opcode in range(32) for key_id in range(8) if key_id or opcode not in (4, 5, 7, 10, 11)],
)
def test_nothing_begins_with_another_opcode_or_key_id(opcode: int, key_id: int) -> None:
    data = bytes([opcode << 3 | key_id]) + CLIENT + bytes(50)
    assert ignored(knock(FrontDoor(ALL_KEYS), data)) is IgnoreReason.NOT_A_FIRST_PACKET
    assert ignored(FrontDoor(ALL_KEYS).receive_stream_untrusted(data, UNIX_TIME)) is IgnoreReason.NOT_A_FIRST_PACKET


@every_protection
@pytest.mark.parametrize("message_id", [1, 2, 0xFFFFFFFF])
def test_a_reset_with_another_id_than_zero_is_ignored(protection: Protection, message_id: int) -> None:
    assert isinstance(knock(FrontDoor(ALL_KEYS), client(protection).reset(message_id)), Ignored)


@every_protection
def test_damaged_packets_are_ignored_and_raise_nothing(protection: Protection) -> None:
    door = FrontDoor(only(protection), max_replies=10**9)
    peer = client(protection)
    reset = peer.reset()
    cookie = peer.read(knock(door, reset)).session_id
    returning = peer.build(peer.returning(cookie))
    for data in (reset, returning):
        for damaged in mangled(data, count=300):
            decision = knock(door, damaged)
            stream_decision = door.receive_stream_untrusted(damaged, UNIX_TIME)
            if protection is not Protection.NONE and damaged != data:
                assert isinstance(decision, Ignored)
                assert isinstance(stream_decision, Ignored)


def test_what_a_decision_shows_holds_no_secret() -> None:
    door, peer = FrontDoor(ALL_KEYS), client(Protection.TLS_CRYPT)
    cookie = peer.read(knock(door, peer.reset())).session_id
    shown = repr(admitted(knock(door, peer.build(peer.returning(cookie)))))
    assert repr(TLS_CRYPT_KEY.octets[:4])[2:-1] not in shown
    assert "StaticKey()" in shown


def test_wrapped_keys_of_every_legal_size_are_accepted() -> None:
    for size in (0, 1, 9, 733):
        metadata = Metadata(Metadata.USER, bytes(size))
        wkc = wrap_client_key(SERVER_KEY, CLIENT_KEY.key, metadata)
        peer = Client(TlsCryptWrap(CLIENT_KEY.key, server=False), wkc, EARLY_NEGOTIATION_START + 1)
        assert isinstance(knock(FrontDoor(ALL_KEYS), peer.reset()), Reply)
