from __future__ import annotations

import hashlib

import pytest

from tests.unit.tunnel.vectors import CLIENT, KEY, SERVER
from tunnel.key_derivation import derive_dynamic_tls_crypt_key, derive_master_and_key_block, tls1_prf

PRE_MASTER = bytes(range(0x30))
MASTER = "015b4f57a47ab03f323e49fefa187cbe6f77d4a63fc219890d3d80c06ee367ab320fc13b20c119807f7e00db8873937a"


def test_the_master_secret_equals_the_vector() -> None:
    seed = b"OpenVPN master secret" + b"\xa1" * 32 + b"\xb1" * 32
    assert tls1_prf(PRE_MASTER, seed, 48).hex() == MASTER


def test_the_key_block_equals_the_vector() -> None:
    block = derive_master_and_key_block(
        pre_master=PRE_MASTER,
        client_random1=b"\xa1" * 32,
        client_random2=b"\xa2" * 32,
        server_random1=b"\xb1" * 32,
        server_random2=b"\xb2" * 32,
        client_session_id=CLIENT,
        server_session_id=SERVER,
    )
    assert len(block) == 256
    assert block[:32].hex() == "3d52c6db0935aae800475118fff216f8999c2deb140e5401527e338ff09ed85f"
    assert block[-32:].hex() == "9a91af1681a96fbfa8207dd4f3839fa4929cc8daf5ad6c16900dfc195e1196dd"
    assert hashlib.sha256(block).hexdigest() == "6da9e0be54ce32c3d75d399bc751f98d47accd14118d8c5831983433b937f440"


@pytest.mark.parametrize("secret_size", [0, 1, 2, 47, 48])
@pytest.mark.parametrize("length", [0, 1, 16, 20, 21, 300])
def test_the_prf_gives_any_length_and_longer_output_begins_alike(secret_size: int, length: int) -> None:
    secret = bytes(range(secret_size))
    output = tls1_prf(secret, b"seed", length)
    assert len(output) == length
    assert tls1_prf(secret, b"seed", 400)[:length] == output


def test_a_secret_of_odd_length_shares_its_middle_octet() -> None:
    assert tls1_prf(b"abc", b"seed", 20) == tls1_prf(b"abbc", b"seed", 20)


def test_a_dynamic_key_mixes_what_tls_exported_with_the_static_key() -> None:
    exported = b"\xc3" * 256
    mixed = derive_dynamic_tls_crypt_key(exported, KEY)
    assert mixed.octets == bytes(octet ^ 0xC3 for octet in KEY.octets)
    assert derive_dynamic_tls_crypt_key(exported, None).octets == exported
