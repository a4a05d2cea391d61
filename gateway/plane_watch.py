"""What the planes find out about this host while they run, said once of each endpoint.

Owns what was said. Planes themselves log nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from gateway.endpoint import Endpoint

__all__ = ["PlaneWatch"]

WATCH_S: Final = 10.0

logger = structlog.get_logger("gateway")


class PlaneWatch:
    """Looks at the planes of all endpoints now and then."""

    def __init__(self, endpoints: Callable[[], Iterable[Endpoint]]) -> None:
        self._endpoints = endpoints
        self._said: WeakSet[Endpoint] = WeakSet()

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        while True:
            self.look()
            await trio.sleep(WATCH_S)

    def look(self) -> None:
        """Say what is new. An endpoint that was started anew counts as another."""
        for endpoint in self._endpoints():
            if endpoint.plane.facts().udp_gso_refused and endpoint not in self._said:
                self._said.add(endpoint)
                logger.warning(
                    "a network device refuses joined datagrams",
                    endpoint=endpoint.spec.name,
                    consequence="they leave one by one, which costs several times the CPU time",
                    remedy="switch its checksum offload on (`ethtool -K DEVICE tx on`), then restart the endpoint",
                )
