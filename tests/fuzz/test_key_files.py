"""Key files and revocation lists, as somebody may have edited, cut or confused them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.pem import parse_certificates, parse_crls, parse_private_key
from gateway.config.problems import WrongValue
from tests.fuzz.strategies import damaged, texts
from tests.unit.gateway.world import pki
from tests.unit.tunnel.link import credentials
from tests.unit.tunnel.vectors import KEY
from tunnel.errors import BadPacket, KeyFileError, TlsConfigError
from tunnel.static_key import build_static_key, parse_static_key
from tunnel.tls import TlsServerContext
from tunnel.tls_crypt_v2 import (
    ServerKey,
    build_client_key,
    build_server_key,
    generate_client_key,
    parse_client_key,
    parse_server_key,
    unwrap_client_key_untrusted,
)

# A damaged certificate may break the RFC in ways that cryptography warns of before it, or we, refuse it.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

SERVER_KEY = ServerKey(bytes(range(128)))
CLIENT_KEY = generate_client_key(SERVER_KEY, None)
FILES = [build_static_key(KEY), build_server_key(SERVER_KEY), build_client_key(CLIENT_KEY)]

key_texts = st.one_of(
    texts(),
    st.sampled_from(FILES).flatmap(lambda text: damaged(text.encode())).map(lambda octets: octets.decode("latin-1")),
)


@given(text=key_texts)
def test_a_key_file_holds_a_whole_key_or_is_refused(text: str) -> None:
    """Any text is a key of exactly the right size, or a `KeyFileError` with a sentence that has no secret in it."""
    for parse in (parse_static_key, parse_server_key, parse_client_key):
        try:
            key = parse(text)
        except KeyFileError as error:
            assert str(error).isprintable()
        else:
            assert "octets" not in repr(key)


@given(wkc=st.one_of(st.binary(max_size=1200), damaged(CLIENT_KEY.wkc)))
def test_only_what_the_server_wrapped_is_unwrapped(wkc: bytes) -> None:
    """A wrapped key is the one that was wrapped, or `BadPacket`."""
    try:
        key, metadata = unwrap_client_key_untrusted(SERVER_KEY, wkc)
    except BadPacket:
        assert wkc != CLIENT_KEY.wkc
    else:
        assert (key, metadata) == (CLIENT_KEY.key, None)


@given(data=st.data())
def test_certificates_keys_and_revocation_lists_are_read_or_refused(data: st.DataObject) -> None:
    """Damaged PEM files give objects, or a sentence of our own; nothing of the libraries gets through."""
    names = ("ca.crt", "server.crt", "server.key", "crl.pem")
    octets = data.draw(st.one_of(st.binary(max_size=200), st.sampled_from(names).map(pki().read).flatmap(damaged)))
    for parse in (parse_certificates, parse_crls, parse_private_key):
        try:
            parse(octets)
        except WrongValue as wrong:
            assert str(wrong).isprintable()


@given(data=st.data(), damaged_one=st.sampled_from(["certificate_chain", "private_key", "client_ca", "crl"]))
def test_tls_takes_its_material_or_says_why_not(data: st.DataObject, damaged_one: str) -> None:
    """A TLS context exists, or `TlsConfigError` says which part of it OpenSSL refuses."""
    found = credentials()
    material: dict[str, Any] = {
        "certificate_chain": found.server_certificate,
        "private_key": found.server_key,
        "client_ca": found.ca,
        "crl": pki().read("crl.pem"),
    }
    material[damaged_one] = data.draw(damaged(material[damaged_one]))
    try:
        TlsServerContext(**material)
    except TlsConfigError as error:
        assert str(error).endswith(".")
