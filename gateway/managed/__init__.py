"""Between the store and the fleet: what the store asks for is carried out, and what happens is written back.

    store ▶ snapshot ▶ building ▶ judging ▶ controller ▶ fleet        rounds: one after the other, level-triggered
    store ◀ statuses ◀────────────────────────────────────┘
    store ◀ publishing ◀ declaring ◀ configuration file               read-only rows of what the file declares
    store ◀ mirror ◀ connection log                                   connections, log, usage
    store ▶ terminations ▶ sessions

`ManagedService` is all of it as one task. Must not know how callers change the store.
"""

from __future__ import annotations

from gateway.managed.service import ManagedService

__all__ = ["ManagedService"]
