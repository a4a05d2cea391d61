from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network

import pytest

from tunnel.banner import banner_options
from tunnel.control_messages import MAX_MESSAGE, build_message
from tunnel.data_keys import Cipher
from tunnel.negotiation import Negotiated
from tunnel.peer_info import IvProto, PeerInfo, parse_peer_info_untrusted
from tunnel.push import PushReplyReader, PushSettings, build_push_reply

OLD = Negotiated(
    cipher=Cipher.AES_256_GCM,
    tls_ekm=False,
    dynamic_tls_crypt=False,
    data_v2=True,
    cc_exit=False,
    compress_stub_v2=False,
)
MODERN = dataclasses.replace(OLD, tls_ekm=True, dynamic_tls_crypt=True, cc_exit=True)
SETTINGS = PushSettings(
    peer_id=7,
    address=IPv4Address("10.80.0.9"),
    network=IPv4Network("10.80.0.0/22"),
    gateway=IPv4Address("10.80.0.1"),
    dns_servers=(IPv4Address("10.20.0.53"), IPv4Address("10.20.0.54")),
    search_domains=("corp.example", "lab.example"),
)


def info(proto: int = 0, **values: str) -> PeerInfo:
    lines = {"PROTO": str(int(proto))} | values
    return parse_peer_info_untrusted("".join(f"IV_{name}={value}\n" for name, value in lines.items()))


def options(settings: PushSettings, negotiated: Negotiated, peer_info: PeerInfo) -> list[str]:
    (message,) = build_push_reply(settings, negotiated, peer_info)
    return message.split(",")


def test_an_old_client_gets_what_it_understands_and_nothing_else() -> None:
    assert options(SETTINGS, OLD, info()) == [
        "PUSH_REPLY",
        "topology subnet",
        "route-gateway 10.80.0.1",
        "ifconfig 10.80.0.9 255.255.252.0",
        "dhcp-option DNS 10.20.0.53",
        "dhcp-option DNS 10.20.0.54",
        "dhcp-option DOMAIN corp.example",
        "dhcp-option DOMAIN-SEARCH lab.example",
        "ping 10",
        "ping-restart 60",
        "cipher AES-256-GCM",
        "peer-id 7",
        "explicit-exit-notify 1",
    ]


def test_only_over_datagrams_is_a_client_asked_to_say_that_it_leaves() -> None:
    (message,) = build_push_reply(SETTINGS, MODERN, info(), datagrams=False)
    assert "explicit-exit-notify" not in message


def test_a_modern_client_gets_flags_mtu_and_dns() -> None:
    got = options(SETTINGS, MODERN, info(IvProto.CC_EXIT_NOTIFY | IvProto.DNS_OPTION_V2, MTU="1600"))
    assert "protocol-flags cc-exit tls-ekm dyn-tls-crypt" in got
    assert "tun-mtu 1500" in got
    assert "dns server 0 address 10.20.0.53 10.20.0.54" in got
    assert "dns search-domains corp.example lab.example" in got


def test_the_exporter_is_announced_alone_to_clients_without_protocol_flags() -> None:
    got = options(SETTINGS, dataclasses.replace(OLD, tls_ekm=True), info())
    assert "key-derivation tls-ekm" in got
    assert not any(option.startswith("protocol-flags") for option in got)


def test_full_tunnel_redirects_and_keeps_windows_from_asking_others() -> None:
    settings = dataclasses.replace(SETTINGS, redirect_gateway=True)
    assert "redirect-gateway def1 bypass-dhcp" in options(settings, MODERN, info())
    assert "block-outside-dns" in options(settings, MODERN, info(PLAT="win"))
    assert "block-outside-dns" not in options(settings, MODERN, info(PLAT="linux"))


def test_a_full_tunnel_may_take_the_clients_own_network_along() -> None:
    full = dataclasses.replace(SETTINGS, redirect_gateway=True, block_local=True)
    assert "redirect-gateway def1 bypass-dhcp block-local" in options(full, MODERN, info())
    split = dataclasses.replace(SETTINGS, block_local=True)
    assert not any("block-local" in option for option in options(split, MODERN, info()))


def test_a_long_banner_comes_whole_however_many_messages_it_takes() -> None:
    banner = "\n".join(100 * ['Ünïcode, "quotes" and 100%'])
    messages = build_push_reply(dataclasses.replace(SETTINGS, banner=banner), MODERN, info())
    assert len(messages) > 1
    reader = PushReplyReader()
    pushed = [reader.feed_untrusted(message) for message in messages][-1]
    assert pushed is not None
    assert [option for option in pushed if option.startswith("echo")] == list(banner_options(banner))


def test_compression_that_a_profile_asks_for_is_turned_into_nothing() -> None:
    assert "compress stub-v2" in options(SETTINGS, dataclasses.replace(OLD, compress_stub_v2=True), info())


def test_a_client_without_peer_ids_is_given_none() -> None:
    got = options(SETTINGS, dataclasses.replace(OLD, data_v2=False), info())
    assert not any(option.startswith("peer-id") for option in got)


@pytest.mark.parametrize("count", [0, 1, 20, 30, 31, 32, 33, 200])
def test_a_long_reply_is_split_and_comes_together_again(count: int) -> None:
    routes = tuple(IPv4Network((f"10.{n}.0.0", 16)) for n in range(count))
    messages = build_push_reply(dataclasses.replace(SETTINGS, routes=routes), MODERN, info())
    assert all(len(build_message(message)) <= MAX_MESSAGE for message in messages)
    assert all(build_message(message) == message.encode() + b"\x00" for message in messages)
    if len(messages) == 1:
        assert "push-continuation" not in messages[0]
    else:
        assert all(message.endswith(",push-continuation 2") for message in messages[:-1])
        assert messages[-1].endswith(",push-continuation 1")
    reader = PushReplyReader()
    *early, last = [reader.feed_untrusted(message) for message in messages]
    assert not any(early)
    assert last is not None
    assert [option for option in last if option.startswith("route ")] == [
        f"route {route.network_address} {route.netmask}" for route in routes
    ]


def test_no_option_is_longer_than_clients_read() -> None:
    settings = dataclasses.replace(SETTINGS, redirect_gateway=True)
    assert max(map(len, options(settings, MODERN, info(IvProto.DNS_OPTION_V2, PLAT="win")))) < 256
