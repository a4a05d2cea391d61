from __future__ import annotations

import pytest

from tests.unit.tunnel.knocking import (
    ALL_KEYS,
    BASE_KEYS,
    NOW,
    REMOTE,
    TLS_CRYPT_KEY,
    UNIX_TIME,
    admitted,
    client,
    every_protection,
    every_wrapped,
    ignored,
    knock,
    only,
)
from tests.unit.tunnel.mangling import mangled
from tests.unit.tunnel.vectors import CLIENT
from tunnel.errors import BadPacket
from tunnel.front_door import Admission, FrontDoor, Ignored, IgnoreReason, Protection, Reply
from tunnel.replay_window import ReplayId
from tunnel.wire import (
    ControlPacket,
    Opcode,
    parse_early_negotiation_untrusted,
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
    packet = peer.returning(cookie)._replace(session_id=b"\x99" * 8)
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
    packet = peer.returning(cookie)._replace(**change)  # type: ignore[arg-type]
    decision = knock(door, peer.build(packet))
    assert isinstance(decision, Admission if good else Ignored)


def test_a_restarted_gateway_knows_no_old_cookie() -> None:
    peer = client(Protection.TLS_CRYPT)
    cookie = peer.read(knock(FrontDoor(ALL_KEYS), peer.reset())).session_id
    assert ignored(knock(FrontDoor(ALL_KEYS), peer.build(peer.returning(cookie)))) is IgnoreReason.WRONG_COOKIE


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


@every_protection
def test_a_first_reset_that_acknowledges_something_is_malformed(protection: Protection) -> None:
    door, peer = FrontDoor(ALL_KEYS), client(protection)
    opcode = Opcode.HARD_RESET_CLIENT_V3 if peer.wkc else Opcode.HARD_RESET_CLIENT_V2
    reset = peer.build(ControlPacket(opcode, 0, CLIENT, (0,), b"\x01" * 8, 0))
    assert ignored(knock(door, reset)) is IgnoreReason.MALFORMED
    assert ignored(door.receive_stream_untrusted(reset, UNIX_TIME)) is IgnoreReason.MALFORMED
