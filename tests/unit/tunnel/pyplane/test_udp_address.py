from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from tunnel.plane import Path, Transport
from tunnel.pyplane.udp_address import Source, UdpAddresses

MAPPED = bytes(10) + b"\xff\xff"


@pytest.mark.parametrize(
    ("listen", "source", "remote", "local"),
    [
        ("192.0.2.9", (("198.51.100.1", 9), b""), ("198.51.100.1", 9), "192.0.2.9"),
        ("0.0.0.0", (("198.51.100.1", 9), b"\xc0\x00\x02\x09"), ("198.51.100.1", 9), "192.0.2.9"),
        ("::", (("::ffff:198.51.100.1", 9, 0, 0), MAPPED + b"\xc0\x00\x02\x09"), ("198.51.100.1", 9), "192.0.2.9"),
        ("::", (("2001:db8::1", 9, 0, 0), ip_address("2001:db8::9").packed), ("2001:db8::1", 9), "2001:db8::9"),
        ("::", (("fe80::1", 9, 0, 3), ip_address("fe80::9").packed), ("fe80::1%3", 9), "fe80::9"),
        ("2001:db8::9", (("2001:db8::1", 9, 0, 0), b""), ("2001:db8::1", 9), "2001:db8::9"),
    ],
)
def test_a_source_and_its_path_convert_without_loss(
    listen: str, source: Source, remote: tuple[str, int], local: str
) -> None:
    addresses = UdpAddresses(ip_address(listen))
    path = addresses.path_of(source)
    assert path == Path(Transport.UDP, remote, local)
    assert addresses.source_of(path) == source


def test_a_path_without_a_local_address_leaves_the_choice_to_the_kernel() -> None:
    addresses = UdpAddresses(ip_address("0.0.0.0"))
    address, local = addresses.source_of(Path(Transport.UDP, ("198.51.100.1", 9)))
    assert (address, local) == (("198.51.100.1", 9), b"")
    assert addresses.ancillary_for(local) == []


def test_a_client_that_uses_a_whole_prefix_of_this_host_fills_no_memory() -> None:
    addresses = UdpAddresses(ip_address("::"))
    first = ip_address("2001:db8::").packed
    wanted = addresses.ancillary_for(first)
    for number in range(5000):
        addresses.ancillary_for(first[:8] + number.to_bytes(8, "big"))
    assert len(addresses._chosen) <= 1024
    assert addresses.ancillary_for(first) == wanted == [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, first + bytes(4))]
