from __future__ import annotations

import os

import pytest

from tests.unit.tunnel.vectors import CLIENT, SERVER
from tunnel.handshake_cookie import HandshakeCookie

REMOTE = ("192.0.2.7", 40000)
NOW = 1_000_000.0
TIMEOUT_S = 59.0  # slots of exactly 30 s


@pytest.fixture
def cookies() -> HandshakeCookie:
    return HandshakeCookie(TIMEOUT_S, os.urandom)


def test_a_cookie_has_the_size_of_a_session_id_and_is_always_the_same_in_one_slot(cookies: HandshakeCookie) -> None:
    slot_start = NOW - NOW % 30
    cookie = cookies.build(REMOTE, CLIENT, slot_start)
    assert len(cookie) == 8
    assert cookies.build(REMOTE, CLIENT, slot_start + 29.9) == cookie
    assert cookies.build(REMOTE, CLIENT, slot_start + 30) != cookie


@pytest.mark.parametrize(("slots_later", "good"), [(0, True), (1, True), (2, True), (3, False), (30, False)])
def test_a_cookie_is_good_in_its_slot_and_the_two_after_it(
    cookies: HandshakeCookie, slots_later: int, *, good: bool
) -> None:
    cookie = cookies.build(REMOTE, CLIENT, NOW)
    assert cookies.verify(cookie, REMOTE, CLIENT, NOW + 30 * slots_later) is good


def test_a_cookie_from_the_future_is_refused(cookies: HandshakeCookie) -> None:
    assert not cookies.verify(cookies.build(REMOTE, CLIENT, NOW + 30), REMOTE, CLIENT, NOW)


@pytest.mark.parametrize("late_s", [0, 15, 29, 30, 45, 59])
def test_a_cookie_is_good_for_the_whole_handshake_timeout(cookies: HandshakeCookie, late_s: float) -> None:
    for start in (NOW, NOW + 7, NOW + 29.9):
        assert cookies.verify(cookies.build(REMOTE, CLIENT, start), REMOTE, CLIENT, start + late_s)


@pytest.mark.parametrize("remote", [("192.0.2.8", 40000), ("192.0.2.7", 40001), ("2001:db8::7", 40000), ("", 40000)])
def test_another_address_or_port_has_another_cookie(cookies: HandshakeCookie, remote: tuple[str, int]) -> None:
    assert not cookies.verify(cookies.build(REMOTE, CLIENT, NOW), remote, CLIENT, NOW)


def test_another_client_session_has_another_cookie(cookies: HandshakeCookie) -> None:
    assert not cookies.verify(cookies.build(REMOTE, CLIENT, NOW), REMOTE, SERVER, NOW)


def test_another_process_has_other_cookies(cookies: HandshakeCookie) -> None:
    other = HandshakeCookie(TIMEOUT_S, os.urandom)
    assert not other.verify(cookies.build(REMOTE, CLIENT, NOW), REMOTE, CLIENT, NOW)


@pytest.mark.parametrize("wrong", [b"", bytes(8), b"\xff" * 8, CLIENT, bytes(7), bytes(9)])
def test_an_invented_cookie_is_refused(cookies: HandshakeCookie, wrong: bytes) -> None:
    assert not cookies.verify(wrong, REMOTE, CLIENT, NOW)


def test_every_bit_of_a_cookie_counts(cookies: HandshakeCookie) -> None:
    cookie = cookies.build(REMOTE, CLIENT, NOW)
    for bit in range(64):
        wrong = (int.from_bytes(cookie, "big") ^ 1 << bit).to_bytes(8, "big")
        assert not cookies.verify(wrong, REMOTE, CLIENT, NOW)
