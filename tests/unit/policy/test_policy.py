"""The package as others see it."""

from __future__ import annotations

import policy


def test_the_shop_window_shows_what_it_names() -> None:
    assert sorted(policy.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)) == policy.__all__
    assert all(getattr(policy, name).__doc__ or name.isupper() for name in policy.__all__)


def test_errors_have_one_root() -> None:
    assert issubclass(policy.PoolExhausted, policy.PolicyError)
    assert issubclass(policy.AddressUnavailable, policy.PolicyError)
