"""Lets callers compete, each in a thread with a transaction of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

from gateway.actions import ActionError
from tests.unit.gateway.actions.harness import invoke

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.store import Store

__all__ = ["outcomes_at_once"]


def outcomes_at_once(store: Store, *calls: tuple[str, Mapping[str, Any]]) -> list[str]:
    """Carry out all calls at the same time; "ok" or the error's code for each, sorted."""
    start = Barrier(len(calls))

    def run(name: str, parameters: Mapping[str, Any]) -> str:
        start.wait(timeout=30)
        try:
            invoke(store, name, **parameters)
        except ActionError as error:
            return error.code
        return "ok"

    with ThreadPoolExecutor(len(calls)) as pool:
        return sorted(pool.map(lambda call: run(*call), calls))
