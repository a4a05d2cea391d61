"""The exception of the pki package."""

from __future__ import annotations

__all__ = ["PkiError"]


class PkiError(Exception):
    """The authority cannot do what it was asked to; the text says why, and what to do."""
