"""The keys that protect an endpoint's control packets before TLS begins, as the store keeps them: sealed."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from tunnel import generate_static_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.store import Vault

__all__ = ["TLS_CRYPT", "make_control_channel_keys", "open_control_channel_keys", "seal_control_channel_keys"]

TLS_CRYPT = "tls_crypt_key"
"""256 octets: what an OpenVPN static key file holds."""


def make_control_channel_keys(vault: Vault) -> bytes:
    """Make the keys of a new endpoint, sealed for the column `control_channel_keys`."""
    return seal_control_channel_keys(vault, {TLS_CRYPT: generate_static_key().octets})


def seal_control_channel_keys(vault: Vault, keys: Mapping[str, bytes]) -> bytes:
    """What that column holds for these keys."""
    return vault.seal(json.dumps({name: base64.b64encode(key).decode() for name, key in keys.items()}).encode())


def open_control_channel_keys(vault: Vault, sealed: bytes | None) -> dict[str, bytes]:
    """The keys in that column by their names; none where it is empty. Raises `StoreError`."""
    if sealed is None:
        return {}
    return {name: base64.b64decode(key) for name, key in json.loads(vault.open(sealed)).items()}
