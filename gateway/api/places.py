"""Who may hold how much of what everybody needs: places for connections, and turns for long bodies.

Both are counted by origin: an address of IPv4, or a network of 64 bits of IPv6, which is what one client has. Nobody is
refused a place because many others share his address: one origin may take all that no other wants, and gives way as
soon as another one comes. Must not know what a connection is for.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Place", "Places", "Turns", "origin_of"]

_CLIENTS_BITS = 64
"""Of an IPv6 address: what lies behind is the client's own to choose."""


def origin_of(host: str) -> str:
    """Whose a connection is, by the address it comes from; empty for those without one, on a Unix socket."""
    if not host:
        return ""
    address = ip_address(host)
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> _CLIENTS_BITS << _CLIENTS_BITS)}/{_CLIENTS_BITS}"


@dataclass(eq=False, slots=True)
class Place:
    """One connection's."""

    origin: str
    end: Callable[[], None]
    """Ends the connection at once."""
    is_busy: bool = False
    """Whether a request is in progress; else it waits for one, or for its head."""
    quiet_since: float = field(default_factory=trio.current_time)

    def note(self, is_busy: bool) -> None:
        """A request has begun, or is done."""
        self.is_busy, self.quiet_since = is_busy, trio.current_time()


class Places:
    """Places for connections. When all are taken, who has most of them makes room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: set[Place] = set()
        self._by_origin: defaultdict[str, int] = defaultdict(int)

    def take(self, origin: str, end: Callable[[], None]) -> Place | None:
        """Take a place, from somebody else where all are taken; None where nobody has to give one up."""
        if len(self._taken) >= self._limit:
            loser = self._loser(origin)
            if loser is None:
                return None
            self.give_back(loser)
            loser.end()
        place = Place(origin, end)
        self._taken.add(place)
        self._by_origin[origin] += 1
        return place

    def give_back(self, place: Place) -> None:
        """The connection has ended; one that has lost its place already changes nothing."""
        if place not in self._taken:
            return
        self._taken.remove(place)
        self._by_origin[place.origin] -= 1
        if not self._by_origin[place.origin]:
            del self._by_origin[place.origin]

    def _loser(self, origin: str) -> Place | None:
        """Of whoever has most: the connection on which nothing happens, for the longest time."""
        own, counts = self._by_origin.get(origin, 0), self._by_origin

        def has_to_go(place: Place) -> bool:
            """Who would still have as many gives up anything; else only what is not in use, and nobody for less."""
            count = counts[place.origin]
            return count > own + 1 or (not place.is_busy and (count > own or place.origin == origin))

        def order(place: Place) -> tuple[int, bool, float]:
            return -counts[place.origin], place.is_busy, place.quiet_since

        return min(filter(has_to_go, self._taken), key=order, default=None)


class Turns:
    """Turns, of which there are so many at once, and so many for each origin; others wait."""

    def __init__(self, total: int, each: int) -> None:
        self._all = trio.CapacityLimiter(total)
        self._each = each
        self._own: dict[str, trio.CapacityLimiter] = {}

    @asynccontextmanager
    async def turn(self, origin: str, *, patience_s: float) -> AsyncIterator[None]:
        """Have one. Raises `trio.TooSlowError` where there is none in time."""
        own = self._own.setdefault(origin, trio.CapacityLimiter(self._each))
        holder = object()
        try:
            with trio.fail_after(patience_s):
                await own.acquire_on_behalf_of(holder)
                try:
                    await self._all.acquire_on_behalf_of(holder)
                except BaseException:
                    own.release_on_behalf_of(holder)
                    raise
            try:
                yield
            finally:
                self._all.release_on_behalf_of(holder)
                own.release_on_behalf_of(holder)
        finally:
            statistics = own.statistics()
            if not statistics.borrowed_tokens and not statistics.tasks_waiting:
                self._own.pop(origin, None)
