from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.mangling import mangled
from tests.unit.tunnel.vectors import CAPTURED, KEY
from tunnel.errors import BadPacket, KeyFileError
from tunnel.static_key import StaticKey
from tunnel.tls_crypt_v2 import (
    MAX_METADATA_SIZE,
    MAX_WKC_SIZE,
    MIN_WKC_SIZE,
    ClientKey,
    Metadata,
    ServerKey,
    build_client_key,
    build_server_key,
    generate_client_key,
    generate_server_key,
    parse_client_key,
    parse_server_key,
    split_wkc_untrusted,
    unwrap_client_key_untrusted,
    wrap_client_key,
)

SERVER_KEY = ServerKey(KEY.octets[:128])
CLIENT_KEY = StaticKey(bytes(range(255, -1, -1)))
CREATED = Metadata.created_at(0x65000000)


def test_a_wrapped_key_equals_the_vector() -> None:
    wkc = wrap_client_key(SERVER_KEY, CLIENT_KEY, CREATED)
    assert wkc[-2:].hex() == "012b"
    assert wkc[:32].hex() == "37cdfa17868adcb79122f5971c9e20b1bd4950d42945a8d1bf2d4818d26d2056"
    assert hashlib.sha256(wkc).hexdigest() == "588ce9467fa6a13982d87f697a3524a1c9c4c5c19468ac557c78de995b9d8e93"


@given(st.none() | st.builds(Metadata, st.integers(0, 255), st.binary(max_size=MAX_METADATA_SIZE - 1)))
def test_a_key_survives_wrapping_and_unwrapping(metadata: Metadata | None) -> None:
    wkc = wrap_client_key(SERVER_KEY, CLIENT_KEY, metadata)
    assert MIN_WKC_SIZE <= len(wkc) <= MAX_WKC_SIZE
    assert unwrap_client_key_untrusted(SERVER_KEY, wkc) == (CLIENT_KEY, metadata)


def test_the_sizes_of_a_wrapped_key_are_openvpns() -> None:
    assert (MIN_WKC_SIZE, MAX_WKC_SIZE, MAX_METADATA_SIZE) == (290, 1024, 734)


def test_metadata_that_is_too_long_is_the_administrators_mistake() -> None:
    with pytest.raises(KeyFileError, match="733 octets at most"):
        wrap_client_key(SERVER_KEY, CLIENT_KEY, Metadata(Metadata.USER, bytes(MAX_METADATA_SIZE)))


def test_openvpns_client_keys_open_with_openvpns_server_key() -> None:
    server_key = parse_server_key((CAPTURED / "v2-server.key").read_text())
    for name in ("v2-client.key", "v2-client-user.key"):
        client_key = parse_client_key((CAPTURED / name).read_text())
        key, metadata = unwrap_client_key_untrusted(server_key, client_key.wkc)
        assert key == client_key.key
        assert metadata is not None
        if "user" in name:
            assert metadata == Metadata(Metadata.USER, b"alice@example")
        else:
            assert metadata.timestamp is not None
            assert metadata == Metadata.created_at(metadata.timestamp)


@pytest.mark.parametrize("name", ["v2-client.key", "v2-client-user.key"])
def test_openvpns_client_key_files_are_written_alike(name: str) -> None:
    text = (CAPTURED / name).read_text()
    assert build_client_key(parse_client_key(text)) == text


def test_openvpns_server_key_file_is_written_alike() -> None:
    text = (CAPTURED / "v2-server.key").read_text()
    assert build_server_key(parse_server_key(text)) == text


def test_new_keys_survive_their_files() -> None:
    server_key = generate_server_key()
    client_key = generate_client_key(server_key, CREATED)
    assert parse_server_key(build_server_key(server_key)) == server_key
    assert parse_client_key(build_client_key(client_key)) == client_key
    assert unwrap_client_key_untrusted(server_key, client_key.wkc) == (client_key.key, CREATED)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no OpenVPN tls-crypt-v2 server key"),
        (build_client_key(ClientKey(CLIENT_KEY, bytes(290))), "no OpenVPN tls-crypt-v2 server key"),
        (build_server_key(SERVER_KEY).replace("AAEC", "A!EC"), "not base64"),
        (build_server_key(SERVER_KEY).replace("AAEC", "AAE"), "not base64"),
        (build_server_key(SERVER_KEY).replace("AAEC", ""), "128 octets, not 125"),
    ],
)
def test_a_file_that_is_no_server_key_is_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(KeyFileError, match=complaint):
        parse_server_key(text)


@pytest.mark.parametrize("size", [0, 289, 1025])
def test_a_client_key_file_with_an_impossible_wkc_is_refused(size: int) -> None:
    with pytest.raises(KeyFileError, match="290 to 1024"):
        parse_client_key(build_client_key(ClientKey(CLIENT_KEY, bytes(size))))


def test_secrets_do_not_show() -> None:
    client_key = ClientKey(CLIENT_KEY, b"secret")
    assert "secret" not in repr(client_key)
    assert repr(SERVER_KEY) == "ServerKey()"


def test_only_a_timestamp_of_eight_octets_is_a_time() -> None:
    assert CREATED.timestamp == 0x65000000
    assert Metadata(Metadata.TIMESTAMP, b"1234").timestamp is None
    assert Metadata(Metadata.USER, bytes(8)).timestamp is None


def test_a_key_wrapped_by_another_server_is_refused() -> None:
    wkc = wrap_client_key(ServerKey(bytes(128)), CLIENT_KEY, None)
    with pytest.raises(BadPacket, match="not of this server"):
        unwrap_client_key_untrusted(SERVER_KEY, wkc)


def test_damaged_wrapped_keys_are_bad_packets() -> None:
    wkc = wrap_client_key(SERVER_KEY, CLIENT_KEY, CREATED)
    for damaged in mangled(wkc, count=500):
        if damaged != wkc:
            with pytest.raises(BadPacket):
                unwrap_client_key_untrusted(SERVER_KEY, damaged)


def test_a_packet_splits_before_its_wrapped_key() -> None:
    wkc = wrap_client_key(SERVER_KEY, CLIENT_KEY, CREATED)
    assert split_wkc_untrusted(b"p" * 54 + wkc) == (b"p" * 54, wkc)


@pytest.mark.parametrize(
    ("size", "length", "good"),
    [
        (49 + 290, 290, True),
        (49 + 289, 289, False),
        (49 + 289, 290, False),
        (49 + 1024, 1024, True),
        (49 + 1025, 1025, False),
        (2000, 1025, False),
        (2000, 0xFFFF, False),
        (2000, 0, False),
        (2, 290, False),
    ],
)
def test_the_length_of_a_wrapped_key_is_bounded_before_anything_else(size: int, length: int, *, good: bool) -> None:
    packet = bytes(size - 2) + length.to_bytes(2, "big")
    if good:
        assert [len(part) for part in split_wkc_untrusted(packet)] == [size - length, length]
    else:
        with pytest.raises(BadPacket, match="length"):
            split_wkc_untrusted(packet)


def test_damaged_packets_split_or_are_bad_packets() -> None:
    packet = bytes.fromhex(json.loads((CAPTURED / "client-resets.json").read_text())["tls-crypt-v2"])
    for damaged in mangled(packet, count=500):
        try:
            head, wkc = split_wkc_untrusted(damaged)
        except BadPacket:
            continue
        assert head + wkc == damaged
        assert MIN_WKC_SIZE <= len(wkc) <= MAX_WKC_SIZE
