from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from gateway.actions.control_channel_keys import TLS_CRYPT, make_control_channel_keys, open_control_channel_keys
from gateway.store import StoreError, Vault


def test_a_new_endpoint_s_key_is_its_own_and_what_openvpn_wants() -> None:
    vault = Vault(Fernet.generate_key())
    first, second = (open_control_channel_keys(vault, make_control_channel_keys(vault)) for _ in range(2))
    assert len(first[TLS_CRYPT]) == len(second[TLS_CRYPT]) == 256
    assert first != second


def test_nothing_sealed_is_no_keys() -> None:
    assert open_control_channel_keys(Vault(Fernet.generate_key()), None) == {}


def test_another_vault_s_keys_stay_closed() -> None:
    sealed = make_control_channel_keys(Vault(Fernet.generate_key()))
    with pytest.raises(StoreError, match="another key"):
        open_control_channel_keys(Vault(Fernet.generate_key()), sealed)
