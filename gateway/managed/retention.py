"""The task that has the store forget what is past its time. What that is, `gateway.store` says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog
import trio

from gateway.store import StoreError, forget

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from gateway.store import Retention as Days
    from gateway.store import Store

__all__ = ["Retention"]

EVERY_S: Final = 600.0

logger = structlog.get_logger("store")


class Retention:
    """Looks from time to time."""

    def __init__(self, store: Store, days: Days, *, unix_time: Callable[[], float] = time.time) -> None:
        """`days` is how long what is kept: the `[store]` section."""
        self._store = store
        self._days = days
        self._unix_time = unix_time

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        while True:
            try:
                gone = await trio.to_thread.run_sync(
                    forget, self._store, self._days, self._unix_time(), abandon_on_cancel=True
                )
            except StoreError as error:
                logger.warning("what is old stays in the store for now", error=str(error))
            else:
                logger.debug("what was old is gone from the store", rows=gone)
            await trio.sleep(EVERY_S)
