"""The steps by which a store's tables come to be what `gateway.store.schema` says (Alembic's).

A step says once and for all what it does, and takes nothing from the schema, which changes.
"""

from __future__ import annotations

__all__ = ["HEAD"]

HEAD = "0001"
"""The newest step."""
