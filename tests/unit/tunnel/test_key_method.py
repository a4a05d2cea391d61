from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.errors import HandshakeError
from tunnel.key_method import MAX_BLOCK_SIZE, KeyMethod2, KeySource, build_key_method, parse_key_method_untrusted

CLIENT = KeySource.generate(bytes(range(112)))
SERVER = KeySource.generate(bytes(range(64)))
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=200)


def test_a_client_source_has_a_pre_master_and_a_servers_has_none() -> None:
    assert (len(CLIENT.random1), len(CLIENT.random2), len(CLIENT.pre_master)) == (32, 32, 48)
    assert (len(SERVER.random1), len(SERVER.random2), len(SERVER.pre_master)) == (32, 32, 0)


@given(TEXT, TEXT, TEXT, TEXT, st.booleans())
def test_blocks_round_trip(options: str, username: str, password: str, peer_info: str, from_client: bool) -> None:
    block = KeyMethod2(CLIENT if from_client else SERVER, options, username, password, peer_info)
    octets = build_key_method(block)
    assert parse_key_method_untrusted(octets + b"next message\x00", from_client=from_client) == (block, len(octets))


def test_a_block_that_is_cut_anywhere_waits_for_more() -> None:
    octets = build_key_method(KeyMethod2(CLIENT, "V4,dev-type tun", "ana", "secret", "IV_VER=2.6.14\n"))
    before_peer_info = len(octets) - len("IV_VER=2.6.14\n") - 3
    for size in range(len(octets)):
        parsed = parse_key_method_untrusted(octets[:size], from_client=True)
        if size == before_peer_info:  # a client of old, which sends no peer info, ends here
            assert parsed is not None
            assert parsed[0].peer_info == ""
        else:
            assert parsed is None


def test_a_servers_block_may_end_after_its_options() -> None:
    octets = build_key_method(KeyMethod2(SERVER, "V4,tls-server"))[:-6]
    parsed = parse_key_method_untrusted(octets, from_client=False)
    assert parsed == (KeyMethod2(SERVER, "V4,tls-server"), len(octets))


@pytest.mark.parametrize(
    "octets",
    [
        b"\x00\x00\x00\x01\x02",
        b"\x00\x00\x00\x00\x01",
        b"PUSH_REQUEST\x00",
        bytes(4) + b"\x02" + bytes(112) + b"\x00\x04a\x00b\x00",
        bytes(4) + b"\x02" + bytes(112) + b"\x00\x02\xff\x00",
        bytes(4) + b"\x02" + bytes(MAX_BLOCK_SIZE),
    ],
    ids=["other prefix", "key method 1", "a message", "inner NUL", "not UTF-8", "too large"],
)
def test_a_block_that_cannot_become_right_is_refused(octets: bytes) -> None:
    with pytest.raises(HandshakeError):
        parse_key_method_untrusted(octets, from_client=True)


@given(st.binary(max_size=400), st.booleans())
def test_any_octets_parse_wait_or_are_refused(octets: bytes, from_client: bool) -> None:
    for buffer in (octets, b"\x00\x00\x00\x00\x02" + octets):
        try:
            parsed = parse_key_method_untrusted(buffer, from_client=from_client)
        except HandshakeError:
            continue
        assert parsed is None or 0 < parsed[1] <= len(buffer)


def test_secrets_are_not_in_reprs() -> None:
    shown = repr(KeyMethod2(CLIENT, "V4", "ana", "hunter2"))
    assert "hunter2" not in shown
    assert repr(CLIENT) == "KeySource()"
