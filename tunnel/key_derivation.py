"""Where the secrets of an association come from: labels of the TLS exporter, OpenVPN's PRF, dynamic tls-crypt.

Owns these formulas. Must not know TLS sessions: who calls has asked the exporter already.
"""

from __future__ import annotations

import hmac

from tunnel.data_keys import KEY_BLOCK_SIZE
from tunnel.static_key import StaticKey

__all__ = [
    "DATA_KEYS_LABEL",
    "DYNAMIC_TLS_CRYPT_LABEL",
    "derive_dynamic_tls_crypt_key",
    "derive_master_and_key_block",
    "tls1_prf",
]

DATA_KEYS_LABEL = b"EXPORTER-OpenVPN-datakeys"
"""Gives a key block of 256 octets, from each TLS session, without context."""
DYNAMIC_TLS_CRYPT_LABEL = b"EXPORTER-OpenVPN-dynamic-tls-crypt"
"""Gives 256 octets for `derive_dynamic_tls_crypt_key`, from the TLS session of key id 0, without context."""

_MASTER_SIZE = 48
_MASTER_LABEL = b"OpenVPN master secret"
_KEY_BLOCK_LABEL = b"OpenVPN key expansion"


def tls1_prf(secret: bytes, seed: bytes, length: int) -> bytes:
    """Expand a secret as TLS 1.0 does (RFC 2246, section 5); the label is part of `seed`."""
    half = (len(secret) + 1) // 2
    md5 = _expand(secret[:half], seed, length, "md5")
    sha1 = _expand(secret[-half:] if half else b"", seed, length, "sha1")
    return _xor(md5, sha1)


def derive_master_and_key_block(
    *,
    pre_master: bytes,
    client_random1: bytes,
    server_random1: bytes,
    client_random2: bytes,
    server_random2: bytes,
    client_session_id: bytes,
    server_session_id: bytes,
) -> bytes:
    """Derive the key block of 256 octets from a key-method-2 exchange, for clients without the TLS exporter.

    The same as OpenVPN's `generate_key_expansion_openvpn_prf`.
    """
    master = tls1_prf(pre_master, _MASTER_LABEL + client_random1 + server_random1, _MASTER_SIZE)
    seed = _KEY_BLOCK_LABEL + client_random2 + server_random2 + client_session_id + server_session_id
    return tls1_prf(master, seed, KEY_BLOCK_SIZE)


def derive_dynamic_tls_crypt_key(exported: bytes, base_key: StaticKey | None) -> StaticKey:
    """Derive the tls-crypt key of renegotiations: what TLS exported, xor the static key if there is one."""
    return StaticKey(exported if base_key is None else _xor(exported, base_key.octets))


def _expand(secret: bytes, seed: bytes, length: int, digest: str) -> bytes:
    """P_hash of RFC 2246."""
    output = b""
    chain = seed
    while len(output) < length:
        chain = hmac.digest(secret, chain, digest)
        output += hmac.digest(secret, chain + seed, digest)
    return output[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    """Of two strings of the same length."""
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
