"""The store: the one place where the API, the command line and the gateways meet.

SQLite in the state directory, or PostgreSQL by URL; one schema, one behaviour. Everything here but the watch for
changes blocks: callers on the trio loop use `trio.to_thread`. A write transaction is alone: writers wait for each
other (SQLite's `BEGIN IMMEDIATE`, an advisory lock with PostgreSQL), so that what one has checked still holds when it
writes.
"""

from __future__ import annotations

from gateway.store.backend import Lease
from gateway.store.changes import ChangeWatch, watch_changes
from gateway.store.engine import open_store
from gateway.store.errors import NameTakenError, StoreError, StoreUnavailableError
from gateway.store.retention import Retention, forget
from gateway.store.store import Store
from gateway.store.vault import Vault

__all__ = [
    "ChangeWatch",
    "Lease",
    "NameTakenError",
    "Retention",
    "Store",
    "StoreError",
    "StoreUnavailableError",
    "Vault",
    "forget",
    "open_store",
    "watch_changes",
]
