from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from gateway.pki import PkiError
from gateway.pki.names import (
    MAX_NAME,
    RESERVED_NAMES,
    alternative_name,
    check_group,
    check_name,
    client_alternative_names,
    looks_like_host,
)


@pytest.mark.parametrize(
    "name", ["alice", "alice@example.com", "laptop-17", "vpn.example.com", "a" * 64, "10.0.0.1", "A+b"]
)
def test_ordinary_names_are_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\0",
        "a\n",
        "a b",
        "-x",
        ".hidden",
        "é",
        "a" * 65,
        "a" * 10_000,
        "a\x1b[2J",
    ],
)
def test_names_that_play_tricks_are_refused(name: str) -> None:
    with pytest.raises(PkiError) as caught:
        check_name(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", [*sorted(RESERVED_NAMES), "CA", "alice-tls-crypt-v2"])
def test_the_authority_s_own_files_are_nobody_s_name(name: str) -> None:
    with pytest.raises(PkiError, match="authority's own files"):
        check_name(name)


@given(st.text())
def test_a_name_that_is_taken_is_one_step_of_a_path(name: str) -> None:
    try:
        check_name(name)
    except PkiError:
        return
    assert "/" not in name
    assert name not in {".", ".."}
    assert 1 <= len(name) <= MAX_NAME


@pytest.mark.parametrize("group", ["", " a", "a ", "a,b", "a\nb", "a" * 65])
def test_impossible_groups_are_refused(group: str) -> None:
    with pytest.raises(PkiError, match="cannot name a group"):
        check_group(group)


@pytest.mark.parametrize("group", ["engineering", "Ops Team", "Développement", "S-1-5-21-1"])
def test_ordinary_groups_are_taken(group: str) -> None:
    assert check_group(group) == group


def test_alternative_names_are_addresses_or_dns_names() -> None:
    assert isinstance(alternative_name("::1"), x509.IPAddress)
    assert alternative_name("*.example.com") == x509.DNSName("*.example.com")


@pytest.mark.parametrize("text", ["", "a b", "x..y", "http://x", "a" * 64, "a.*.b", "-x"])
def test_what_is_no_host_is_refused(text: str) -> None:
    assert not looks_like_host(text)
    with pytest.raises(PkiError):
        alternative_name(text)


def test_only_a_mailbox_is_a_client_s_alternative_name() -> None:
    assert client_alternative_names("alice") == ()
    assert client_alternative_names("alice@host") == ()
    assert client_alternative_names("alice@example.com") == (x509.RFC822Name("alice@example.com"),)
