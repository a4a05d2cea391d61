"""The exceptions of the policy package.

    PolicyError
    ├── PoolExhausted         every address of the pool is leased
    └── AddressUnavailable    the address that was asked for is leased already, or is none of the pool's

A spec that makes no sense is no exception: `policy.validate` answers with `Problem`s.
"""

from __future__ import annotations

__all__ = ["AddressUnavailable", "PolicyError", "PoolExhausted"]


class PolicyError(Exception):
    """Anything that goes wrong in the policy package."""


class PoolExhausted(PolicyError):  # noqa: N818 - the log's word for it
    """Every address is leased: make the client range larger, or wait until a client leaves."""


class AddressUnavailable(PolicyError):  # noqa: N818 - a state of affairs, not a fault
    """An address cannot be reserved: somebody has it, or the pool does not lease it."""
