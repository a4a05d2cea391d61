from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.peer_info import MAX_LINE, MAX_NAMES, IvProto, PeerInfo, build_peer_info, parse_peer_info_untrusted

STOCK_26 = {
    "IV_VER": "2.6.14",
    "IV_PLAT": "linux",
    "IV_TCPNL": "1",
    "IV_MTU": "1600",
    "IV_NCP": "2",
    "IV_CIPHERS": "AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305",
    "IV_PROTO": "990",
    "IV_COMP_STUBv2": "1",
}


def test_a_stock_client_is_understood() -> None:
    info = parse_peer_info_untrusted(build_peer_info(STOCK_26))
    assert (info.version, info.platform) == ("2.6.14", "linux")
    assert info.ciphers == ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")
    assert info.takes_pushed_mtu
    assert info.has_stub_v2
    assert info.takes_unrequested_push
    assert info.takes_push_beside_key_method
    assert IvProto.DYN_TLS_CRYPT in info.proto
    assert IvProto.DATA_EPOCH not in info.proto


def test_a_client_that_says_nothing_can_nothing() -> None:
    info = parse_peer_info_untrusted("")
    assert info == PeerInfo()
    assert (info.version, info.platform, info.proto, info.ciphers) == ("", "", IvProto(0), ())


@pytest.mark.parametrize(
    ("version", "proto", "early"),
    [("2.7.0", 4, True), ("2.5.1", 2, False), ("3.11.1", 990, False), ("", 990, False), ("22.1", 4, False)],
)
def test_only_openvpn_2_that_need_not_ask_takes_a_push_beside_the_key_method(
    version: str, proto: int, *, early: bool
) -> None:
    info = parse_peer_info_untrusted(build_peer_info({"IV_VER": version, "IV_PROTO": str(proto)}))
    assert info.takes_push_beside_key_method is early


def test_ncp_2_without_ciphers_means_the_two_gcm_ciphers() -> None:
    assert parse_peer_info_untrusted("IV_NCP=2\n").ciphers == ("AES-256-GCM", "AES-128-GCM")


def test_cipher_names_are_compared_in_upper_case() -> None:
    assert parse_peer_info_untrusted("IV_CIPHERS=aes-256-gcm:ChaCha20-Poly1305\n").ciphers == (
        "AES-256-GCM",
        "CHACHA20-POLY1305",
    )


def test_what_could_do_harm_is_replaced() -> None:
    info = parse_peer_info_untrusted("IV_VER=2.6$(reboot)`x`\x1b[2J\ttab\nUV_NAME=ü\n")
    assert info.values["IV_VER"] == "2.6__reboot)_x__[2J_tab"
    assert info.values["UV_NAME"] == "_"


def test_unknown_prefixes_bad_names_and_floods_are_left_out() -> None:
    assert not parse_peer_info_untrusted("PATH=/bin\nIV_A B=1\nIV_\nno separator\nIV_=x\n").values
    assert len(parse_peer_info_untrusted("".join(f"UV_{n}=x\n" for n in range(1000))).values) == MAX_NAMES
    assert len(parse_peer_info_untrusted("UV_LONG=" + "x" * 9999).values["UV_LONG"]) < MAX_LINE


def test_a_senseless_iv_proto_is_no_ability() -> None:
    for value in ("", "-1", "0x3", "9" * 40, "²", "two"):
        assert parse_peer_info_untrusted(f"IV_PROTO={value}\n").proto == IvProto(0)


@given(st.text(max_size=500))
def test_any_text_becomes_harmless(text: str) -> None:
    info = parse_peer_info_untrusted(text)
    for name, value in info.values.items():
        assert (name + value).isascii()
        assert (name + value).isprintable()
        assert not set(value) & set("$(` \t")
    assert isinstance(info.proto, IvProto)
    assert all(cipher == cipher.upper() for cipher in info.ciphers)
