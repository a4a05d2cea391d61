from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from tests.unit.tunnel.knocking import (
    ALL_KEYS,
    CLIENT_KEY,
    SERVER_KEY,
    TLS_AUTH_KEY,
    TLS_CRYPT_KEY,
    UNIX_TIME,
    Client,
    admitted,
    client,
    ignored,
    knock,
    only,
)
from tests.unit.tunnel.vectors import CAPTURED, CLIENT
from tunnel.control_wrap import TlsAuthWrap, TlsCryptWrap, WrapKey
from tunnel.errors import LocalError
from tunnel.front_door import Admission, FrontDoor, FrontDoorKeys, Ignored, IgnoreReason, Protection, Reply
from tunnel.static_key import KeyDirection, StaticKey, parse_static_key
from tunnel.tls_crypt_v2 import (
    ClientKey,
    Metadata,
    ServerKey,
    generate_client_key,
    parse_server_key,
    wrap_client_key,
)
from tunnel.wire import (
    EARLY_NEGOTIATION_START,
    ControlPacket,
    Opcode,
)

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
    assert FrontDoor(keys).diagnose_untrusted(reset).endswith(".")


def test_a_key_direction_that_does_not_fit_is_named_for_the_log() -> None:
    reset = Client(TlsAuthWrap(TLS_AUTH_KEY, KeyDirection.NORMAL)).reset()
    assert "key-direction 0 or none, where this endpoint wants" in FrontDoor(ALL_KEYS).diagnose_untrusted(reset)


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


def test_wrapped_keys_of_every_legal_size_are_accepted() -> None:
    for size in (0, 1, 9, 733):
        metadata = Metadata(Metadata.USER, bytes(size))
        wkc = wrap_client_key(SERVER_KEY, CLIENT_KEY.key, metadata)
        peer = Client(TlsCryptWrap(CLIENT_KEY.key, server=False), wkc, EARLY_NEGOTIATION_START + 1)
        assert isinstance(knock(FrontDoor(ALL_KEYS), peer.reset()), Reply)
