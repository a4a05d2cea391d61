"""What can go wrong with the store.

StoreError                   a sentence for the administrator
├── StoreUnavailableError    the database does not answer; it may later
└── NameTakenError           another gateway has this one's name
"""

from __future__ import annotations

__all__ = ["NameTakenError", "StoreError", "StoreUnavailableError"]


class StoreError(Exception):
    """The store cannot be used as it is; the sentence says why and what to do."""


class StoreUnavailableError(StoreError):
    """The database does not answer now."""


class NameTakenError(StoreError):
    """Another gateway that runs has this one's place in the store."""
