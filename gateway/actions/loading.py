"""Finds the actions: every module of this package registers its own when it is imported."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

import gateway.actions
from gateway.actions.call import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.actions.call import Action

__all__ = ["load_actions"]


def load_actions() -> Mapping[str, Action]:
    """Import all modules of the package, and return `ACTIONS`, then complete."""
    for module in pkgutil.iter_modules(gateway.actions.__path__, f"{gateway.actions.__name__}."):
        import_module(module.name)
    return ACTIONS
