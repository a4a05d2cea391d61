from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.control_messages import MAX_MESSAGE, MAX_UNREAD, MessageReader, build_message
from tunnel.errors import HandshakeError


def test_messages_are_read_however_they_are_cut() -> None:
    octets = b"PUSH_REQUEST\x00EXIT\r\n\x00"
    for cut in range(len(octets)):
        reader = MessageReader()
        assert reader.feed_untrusted(octets[:cut]) + reader.feed_untrusted(octets[cut:]) == ["PUSH_REQUEST", "EXIT"]


def test_unprintable_and_empty_messages_are_left_out() -> None:
    assert MessageReader().feed_untrusted(b"\x00\x00EXIT\x1b[2J\x00\xff\x00INFO\x00") == ["INFO"]


@pytest.mark.parametrize("octets", [b"A" * (MAX_UNREAD + 1), b"A" * (MAX_UNREAD + 1) + b"\x00"])
def test_a_message_without_end_is_refused(octets: bytes) -> None:
    with pytest.raises(HandshakeError):
        MessageReader().feed_untrusted(octets)


def test_what_is_sent_is_printable_and_short() -> None:
    assert build_message("AUTH_FAILED,na\nïve\x00") == b"AUTH_FAILED,na?\x3fve?\x00"
    assert len(build_message("x" * 9999)) == MAX_MESSAGE


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_any_octets_give_printable_messages_or_an_end(pieces: list[bytes]) -> None:
    reader = MessageReader()
    for piece in pieces:
        for message in reader.feed_untrusted(piece):
            assert message.isascii()
            assert message.isprintable()
