from __future__ import annotations

import sys

import pytest

from tests.unit.tunnel.knocking import (
    ALL_KEYS,
    CLIENT_KEY,
    NOW,
    TLS_CRYPT_KEY,
    UNIX_TIME,
    Client,
    admitted,
    client,
    every_protection,
    ignored,
    knock,
)
from tunnel.control_wrap import TlsCryptWrap
from tunnel.front_door import FrontDoor, FrontDoorKeys, Ignored, IgnoreReason, Protection, Reply
from tunnel.static_key import StaticKey


@every_protection
def test_no_more_resets_are_answered_than_the_limit_allows(protection: Protection) -> None:
    door, peer = FrontDoor(ALL_KEYS, max_replies=3, reply_window_s=10), client(protection)
    decisions = [knock(door, peer.reset(), NOW + second) for second in range(5)]
    assert [type(decision) for decision in decisions] == [Reply] * 3 + [Ignored] * 2
    assert ignored(decisions[-1]) is IgnoreReason.LIMITED
    assert isinstance(knock(door, peer.reset(), NOW + 10), Reply)


def test_a_flood_without_protection_does_not_keep_out_those_who_hold_a_key() -> None:
    door, stranger = FrontDoor(ALL_KEYS, max_replies=5), client(Protection.NONE)
    for _ in range(5):
        assert isinstance(knock(door, stranger.reset()), Reply)
    assert ignored(knock(door, stranger.reset())) is IgnoreReason.LIMITED
    for protection in Protection:
        if protection is not Protection.NONE:
            assert isinstance(knock(door, client(protection).reset()), Reply)


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


@every_protection
def test_a_door_that_takes_over_honours_the_cookies_of_the_one_before(protection: Protection) -> None:
    before, peer = FrontDoor(ALL_KEYS), client(protection)
    cookie = peer.read(knock(before, peer.reset())).session_id
    door = FrontDoor(ALL_KEYS, max_replies=50)
    door.take_over(before)
    admitted(knock(door, peer.build(peer.returning(cookie))))


def test_a_door_that_takes_over_goes_on_counting_by_its_own_limit() -> None:
    before, peer, stranger = FrontDoor(ALL_KEYS, max_replies=3), client(Protection.TLS_AUTH), client(Protection.NONE)
    for _ in range(3):
        knock(before, peer.reset())
    door = FrontDoor(ALL_KEYS, max_replies=4)
    door.take_over(before)
    assert isinstance(knock(door, peer.reset()), Reply)
    assert ignored(knock(door, peer.reset())) is IgnoreReason.LIMITED
    assert isinstance(knock(door, stranger.reset()), Reply)


def test_strangers_who_are_no_longer_served_leave_no_count_to_those_who_hold_a_key() -> None:
    before, stranger = FrontDoor(ALL_KEYS, max_replies=1), client(Protection.NONE)
    knock(before, stranger.reset())
    door = FrontDoor(FrontDoorKeys(tls_crypt=TLS_CRYPT_KEY), max_replies=1)
    door.take_over(before)
    assert isinstance(knock(door, client(Protection.TLS_CRYPT).reset()), Reply)
