from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.config.values import (
    Address,
    DomainName,
    Group,
    HostName,
    InterfaceName,
    ListenAddress,
    ListOf,
    Name,
    Network,
    is_host,
    nearest,
    shown,
)


def refusal(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return str(caught.value)


def test_a_network_is_parsed() -> None:
    assert TypeAdapter(Network).validate_python("10.0.0.0/8") == IPv4Network("10.0.0.0/8")


@given(st.ip_addresses(v=4), st.integers(0, 31))
def test_a_network_with_host_bits_is_refused_with_the_network_that_was_meant(address: object, prefix: int) -> None:
    network = IPv4Network(f"{address}/{prefix}", strict=False)
    if address != network[0]:
        assert f'the network itself is "{network}"' in refusal(Network, f"{address}/{prefix}")


@pytest.mark.parametrize("value", ["10.0.0.0/33", "office", "", "10.0.0/8", "::/0", 10, None, ["10.0.0.0/8"]])
def test_what_is_no_ipv4_network_is_refused(value: object) -> None:
    assert "network" in refusal(Network, value)


@pytest.mark.parametrize("value", ["10.0.0.256", "10.0.0.1/32", "::1", "dns.example.com", 1])
def test_what_is_no_ipv4_address_is_refused(value: object) -> None:
    assert refusal(Address, value)


def test_a_gateway_may_listen_on_ipv6() -> None:
    adapter: TypeAdapter[object] = TypeAdapter(ListenAddress)
    assert adapter.validate_python("::") == IPv6Address("::")
    assert "an address of this host" in refusal(ListenAddress, "eth0")


@pytest.mark.parametrize("value", ["", ".", "..", "-a", "a/b", "a b", "é", "a" * 64, "a\n"])
def test_names_that_could_be_mistaken_for_something_else_are_refused(value: str) -> None:
    assert refusal(Name, value)


@pytest.mark.parametrize("value", ["", "a/b", "a b", ".", "..", "a" * 16, "eth0:1", "a\0"])
def test_impossible_interface_names_are_refused(value: str) -> None:
    assert refusal(InterfaceName, value)


@pytest.mark.parametrize("value", ["", " a", "a ", "a,b", "a\tb", "a" * 256])
def test_groups_that_no_list_could_hold_are_refused(value: str) -> None:
    assert refusal(Group, value)


@pytest.mark.parametrize("value", ["vpn.example.com", "10.0.0.1", "::1", "localhost", ""])
def test_hosts_are_names_or_addresses(value: str) -> None:
    assert TypeAdapter(HostName).validate_python(value) == value


@pytest.mark.parametrize("value", ["a b", "vpn..example", "-a.example", "a" * 64, "vpn.example.com 1194", "x\ny"])
def test_what_would_break_a_profile_is_no_host(value: str) -> None:
    assert not is_host(value)
    assert refusal(DomainName, value)


def test_a_list_keeps_its_order_and_refuses_repetitions() -> None:
    adapter: TypeAdapter[tuple[str, ...]] = TypeAdapter(ListOf[str])
    assert adapter.validate_python(["b", "a"]) == ("b", "a")
    assert "names b twice" in refusal(ListOf[str], ["b", "a", "b"])
    assert "must be a list" in refusal(ListOf[str], "b")


@given(st.text())
def test_whatever_is_shown_is_short_and_printable(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 61


def test_values_are_shown_in_toml_s_spelling() -> None:
    values: list[object] = [True, 5, "x", {}]
    assert [shown(value) for value in values] == ["true", "5", '"x"', "a table"]


def test_the_nearest_word_is_found_or_none() -> None:
    assert nearest("tls-cript", ["tls-crypt", "none"]) == "tls-crypt"
    assert nearest("aes-256-gcm", ["AES-128-GCM", "AES-256-GCM"]) == "AES-256-GCM"
    assert nearest("zebra", ["tls-crypt", "none"]) is None
