"""Declarations: a document says what endpoints there are to be, and the store is made so, or shown as one.

    document ▶ models ─┐
                       ├▶ differences ▶ the very actions that callers have ▶ plan, or all of it done
    rows ▶ models ─────┘

A plan is the same work, undone at its end; so what it shows is what happens. Who gains and loses access is read off
the routes and rules before and after: see `effects`. Must not know files, TOML or terminals.
"""

from __future__ import annotations

from gateway.actions.declaration.carrying_out import apply_configuration, export_configuration

__all__ = ["apply_configuration", "export_configuration"]
