from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from tests.unit.policy.specs import ENDPOINT, endpoint, gateway, ip


def test_the_gateway_has_the_first_host_of_the_client_range() -> None:
    assert ENDPOINT.gateway_address == ip("10.80.0.1")


def test_endpoints_are_found_by_name() -> None:
    second = endpoint(name="second")
    assert gateway(ENDPOINT, second).endpoint("second") is second
    with pytest.raises(KeyError):
        gateway().endpoint("second")


def test_a_spec_is_a_value() -> None:
    assert endpoint() == ENDPOINT
    assert hash(endpoint()) == hash(ENDPOINT)
    with pytest.raises(FrozenInstanceError):
        ENDPOINT.name = "other"  # type: ignore[misc]


def test_no_key_is_in_a_repr() -> None:
    text = repr(gateway())
    assert "b'key'" not in text
    assert r"\x00" not in text
