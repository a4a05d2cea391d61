from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.vectors import CAPTURED, KEY
from tunnel.errors import KeyFileError
from tunnel.static_key import KeyDirection, StaticKey, build_static_key, generate_static_key, parse_static_key


@given(st.binary(min_size=256, max_size=256))
def test_a_key_survives_building_and_parsing(octets: bytes) -> None:
    assert parse_static_key(build_static_key(StaticKey(octets))) == StaticKey(octets)


def test_openvpns_own_key_file_is_read_and_written_alike() -> None:
    text = (CAPTURED / "static.key").read_text()
    assert build_static_key(parse_static_key(text)) == text


def test_white_space_and_text_around_the_block_mean_nothing() -> None:
    text = "# a comment\r\n<tls-auth>\n" + build_static_key(KEY).replace("\n", "\r\n  ") + "</tls-auth>"
    assert parse_static_key(text) == KEY


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no static key"),
        (build_static_key(KEY).replace("END", "FIN"), "no static key"),
        (build_static_key(KEY).replace("ff", "zz"), "hexadecimal"),
        (build_static_key(KEY).replace("ff", "f"), "hexadecimal"),
        (build_static_key(KEY).replace("ff", ""), "256 octets, not 255"),
        (build_static_key(KEY).replace("ff", "ffff"), "256 octets, not 257"),
        (build_static_key(KEY).replace("ff", "é"), "hexadecimal"),
    ],
)
def test_a_file_that_is_no_key_is_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(KeyFileError, match=complaint):
        parse_static_key(text)


def test_a_new_key_is_made_of_the_given_randomness() -> None:
    assert generate_static_key(lambda size: b"\x07" * size) == StaticKey(b"\x07" * 256)


def test_a_key_shows_nothing_of_itself() -> None:
    assert "\\x" not in repr(KEY)
    assert "00" not in repr(KEY)


def test_each_half_has_a_cipher_and_an_hmac_part() -> None:
    assert KEY.half(0).cipher == KEY.octets[0:64]
    assert KEY.half(0).hmac == KEY.octets[64:128]
    assert KEY.half(1).cipher == KEY.octets[128:192]
    assert KEY.half(1).hmac == KEY.octets[192:256]


def test_what_one_side_sends_with_the_other_receives_with() -> None:
    assert KeyDirection.NORMAL.send_index == KeyDirection.INVERSE.receive_index == 0
    assert KeyDirection.INVERSE.send_index == KeyDirection.NORMAL.receive_index == 1
    assert KeyDirection.BIDIRECTIONAL.send_index == KeyDirection.BIDIRECTIONAL.receive_index == 0
