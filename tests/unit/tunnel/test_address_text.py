from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.address_text import host_text, to_octets, to_text

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_reads_the_same_mapped_and_bare(address: IPv4Address) -> None:
    assert to_text(address.packed) == to_text(to_octets(str(address))) == str(address)
    assert host_text(f"::ffff:{address}") == host_text(str(address)) == str(address)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_comes_back_as_it_was(address: IPv6Address) -> None:
    assert to_octets(to_text(address.packed)) == address.packed
    assert to_text(address.packed) == host_text(socket.inet_ntop(socket.AF_INET6, address.packed))


@pytest.mark.parametrize("text", ["", "nonsense", "1.2.3", "fe80::1%3", "1.2.3.4:5"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(OSError, match="illegal"):
        to_octets(text)
