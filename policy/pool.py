"""The address pool of an endpoint: which client has which address inside the tunnel.

A returning owner gets a former address while it is free. Everybody else gets an address that was never used, and
when those have run out, the one that was free the longest: so an address keeps meaning its last owner for as long
as the range allows, in logs and in the access lists of others.

Every operation costs the same in a /29 and in a /12: the range is never listed, only what has been used is kept. No
clock: the order of releases is all that "longest" needs. Knows no sessions; an owner is a name.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from policy.errors import AddressUnavailable, PoolExhausted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network

__all__ = ["REMEMBERED_ADDRESSES", "AddressPool", "pool_capacity"]

REMEMBERED_ADDRESSES = 65_536
"""How many free addresses keep their former owner by default: a /16 in full, at some 40 MB."""

_NEVER_LEASED = 3
"""The network's own address, the gateway's (the first host) and the broadcast address."""


def pool_capacity(network: IPv4Network) -> int:
    """How many clients a range has addresses for; 0 where it is too small for any."""
    return max(0, network.num_addresses - _NEVER_LEASED)


class AddressPool:
    """Leases the addresses of one client range."""

    def __init__(self, network: IPv4Network, *, remember: int = REMEMBERED_ADDRESSES) -> None:
        """`remember` bounds memory: with more free addresses on the books, the oldest is used before a new one."""
        self.network = network
        self.capacity = pool_capacity(network)
        self._remember = remember
        # Addresses are numbers in here: to look one up costs a tenth of what an `IPv4Address` does.
        self._first = int(network.network_address) + 2
        self._last = int(network.broadcast_address) - 1
        self._next_fresh = self._first
        self._leased: dict[int, str] = {}
        self._free: OrderedDict[int, str] = OrderedDict()  # used before, free now; the longest free first
        self._free_of: dict[str, OrderedDict[int, None]] = {}  # the same by former owner

    @property
    def used(self) -> int:
        """How many addresses are leased."""
        return len(self._leased)

    @property
    def leases(self) -> Mapping[IPv4Address, str]:
        """Who has which address."""
        return {IPv4Address(number): owner for number, owner in self._leased.items()}

    def lease(self, owner: str) -> IPv4Address:
        """An address for `owner`, who may hold several; raises `PoolExhausted`."""
        if self.used >= self.capacity:
            raise PoolExhausted(f"all {self.capacity} addresses of {self.network} are leased")
        number = self._choose(owner)
        self._take(number, owner)
        return IPv4Address(number)

    def reserve(self, owner: str, address: IPv4Address) -> None:
        """Lease one particular address, for a session that lives on with it; raises `AddressUnavailable`."""
        if int(address) in self._leased:
            raise AddressUnavailable(f"{address} is leased already")
        if not self._first <= int(address) <= self._last:
            raise AddressUnavailable(f"{address} is not one of the addresses that {self.network} has for clients")
        self._take(int(address), owner)

    def release(self, address: IPv4Address) -> None:
        """Take an address back and remember whose it was; `KeyError` where it is not leased."""
        number = int(address)
        owner = self._leased.pop(number)
        self._free[number] = owner
        self._free_of.setdefault(owner, OrderedDict())[number] = None

    def _choose(self, owner: str) -> int:
        """The best free address for an owner; there is one."""
        former = self._free_of.get(owner)
        if former:
            return next(reversed(former))
        if len(self._free) > self._remember or (fresh := self._fresh()) is None:
            return next(iter(self._free))
        return fresh

    def _fresh(self) -> int | None:
        """The lowest address that was never used; passes for good over those that `reserve` has used meanwhile."""
        while self._next_fresh in self._leased or self._next_fresh in self._free:
            self._next_fresh += 1
        return self._next_fresh if self._next_fresh <= self._last else None

    def _take(self, number: int, owner: str) -> None:
        """Move an address to the leased ones; whoever had it formerly has lost it."""
        former_owner = self._free.pop(number, None)
        if former_owner is not None:
            numbers = self._free_of[former_owner]
            del numbers[number]
            if not numbers:
                del self._free_of[former_owner]
        self._leased[number] = owner
