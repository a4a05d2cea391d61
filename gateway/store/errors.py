"""What can go wrong with the store.

StoreError                   a sentence for the administrator
└── StoreUnavailableError    the database does not answer; it may later
"""

from __future__ import annotations

__all__ = ["StoreError", "StoreUnavailableError"]


class StoreError(Exception):
    """The store cannot be used as it is; the sentence says why and what to do."""


class StoreUnavailableError(StoreError):
    """The database does not answer now."""
