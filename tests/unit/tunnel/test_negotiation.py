from __future__ import annotations

import pytest

from tunnel.data_keys import Cipher
from tunnel.errors import HandshakeError
from tunnel.events import CloseReason
from tunnel.negotiation import answer_options_string, negotiate
from tunnel.peer_info import IvProto, PeerInfo, parse_peer_info_untrusted

OFFERED = (Cipher.AES_256_GCM, Cipher.AES_128_GCM, Cipher.CHACHA20_POLY1305)
TUN = "V4,dev-type tun,tls-client"


def info(**values: str) -> PeerInfo:
    return parse_peer_info_untrusted("".join(f"IV_{name}={value}\n" for name, value in values.items()))


@pytest.mark.parametrize(
    ("peer_info", "options", "chosen"),
    [
        (info(CIPHERS="AES-128-GCM:AES-256-GCM"), TUN, Cipher.AES_256_GCM),
        (info(CIPHERS="SM4-GCM:CHACHA20-POLY1305"), TUN, Cipher.CHACHA20_POLY1305),
        (info(NCP="2"), TUN, Cipher.AES_256_GCM),
        (info(), f"{TUN},cipher AES-128-GCM", Cipher.AES_128_GCM),
        (info(), f"{TUN},cipher aes-128-gcm", Cipher.AES_128_GCM),
    ],
)
def test_the_gateways_first_cipher_that_the_client_has_is_chosen(
    peer_info: PeerInfo, options: str, chosen: Cipher
) -> None:
    assert negotiate(peer_info, options, data_ciphers=OFFERED).cipher is chosen


def test_without_a_common_cipher_the_reason_names_both_lists() -> None:
    with pytest.raises(HandshakeError, match=r"no shared cipher.*AES-256-GCM.*BF-CBC") as caught:
        negotiate(info(CIPHERS="BF-CBC"), TUN, data_ciphers=OFFERED)
    assert caught.value.reason is CloseReason.NO_COMMON_CIPHER


def test_cbc_is_chosen_only_where_it_is_offered() -> None:
    with pytest.raises(HandshakeError):
        negotiate(info(CIPHERS="AES-256-CBC"), TUN, data_ciphers=OFFERED)
    assert negotiate(info(CIPHERS="AES-256-CBC"), TUN, data_ciphers=(Cipher.AES_256_CBC,)).cipher is Cipher.AES_256_CBC


@pytest.mark.parametrize("option", ["comp-lzo", "comp-lzo yes"])
def test_compression_is_turned_off_where_the_client_knows_how(option: str) -> None:
    modern = info(CIPHERS="AES-256-GCM", COMP_STUBv2="1")
    assert negotiate(modern, f"{TUN},{option}", data_ciphers=OFFERED).compress_stub_v2
    assert not negotiate(modern, TUN, data_ciphers=OFFERED).compress_stub_v2
    with pytest.raises(HandshakeError, match="compression"):
        negotiate(info(CIPHERS="AES-256-GCM"), f"{TUN},{option}", data_ciphers=OFFERED)


def test_each_ability_is_used_only_where_the_client_has_it() -> None:
    bits = {
        "tls_ekm": IvProto.TLS_KEY_EXPORT,
        "data_v2": IvProto.DATA_V2,
        "cc_exit": IvProto.CC_EXIT_NOTIFY,
        "dynamic_tls_crypt": IvProto.DYN_TLS_CRYPT | IvProto.CC_EXIT_NOTIFY,
    }
    for name, bit in bits.items():
        able = negotiate(info(CIPHERS="AES-256-GCM", PROTO=str(int(bit))), TUN, data_ciphers=OFFERED)
        unable = negotiate(info(CIPHERS="AES-256-GCM", PROTO="0"), TUN, data_ciphers=OFFERED)
        assert (getattr(able, name), getattr(unable, name)) == (True, False)


def test_dynamic_tls_crypt_needs_protocol_flags_to_be_announced_with() -> None:
    only_dynamic = info(CIPHERS="AES-256-GCM", PROTO=str(int(IvProto.DYN_TLS_CRYPT)))
    assert not negotiate(only_dynamic, TUN, data_ciphers=OFFERED).dynamic_tls_crypt


def test_the_options_string_is_an_echo_from_the_other_side() -> None:
    answer = answer_options_string("V4,dev-type tun,proto TCPv4_CLIENT,tls-client")
    assert answer == "V4,dev-type tun,proto TCPv4_SERVER,tls-server"


@pytest.mark.parametrize("options", ["", "\x00\x01", "é"])
def test_the_options_string_is_never_empty(options: str) -> None:
    assert answer_options_string(options) == "V4,dev-type tun,tls-server"


def test_the_options_string_fits_into_the_clients_buffer() -> None:
    assert len(answer_options_string("x" * 9999)) == 511
