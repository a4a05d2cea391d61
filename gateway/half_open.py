"""Counts the handshakes in flight, in all and by source network, and says when there are too many.

A handshake that fails keeps its place in its network's count for a while: each costs the gateway a key exchange and
a record in the log, and who fails on purpose can do so within a round trip. Knows nothing of connections.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

__all__ = ["HalfOpen", "SourceNetwork", "source_network"]

SourceNetwork = str
"""Such as `198.51.100.0/24`: as text, since it is looked up several times for each client that connects."""

IPV4_PREFIX = 24
"""What one attacker, or one office behind NAT, typically has."""
IPV6_PREFIX = 56
"""What a provider typically gives one household."""
REST_S = 10.0
"""How long the place of a failed handshake stays taken: with 128 places, 13 failures a second from one network."""


@lru_cache(maxsize=4096)
def source_network(address: str) -> SourceNetwork:
    """Give the /24 or /56 that stands for whoever is behind an address; mapped IPv4 addresses count as IPv4."""
    parsed: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    prefix = IPV4_PREFIX if isinstance(parsed, IPv4Address) else IPV6_PREFIX
    return str(ip_network((parsed.packed, prefix), strict=False))


class HalfOpen:
    """Handshakes in flight. Each `enter` that says True needs one `leave` or `fail` with the same address."""

    def __init__(self, limit: int, limit_per_network: int) -> None:
        self.limit = limit
        self.limit_per_network = limit_per_network
        self.total = 0
        self._by_network: dict[SourceNetwork, int] = {}
        self._resting: deque[tuple[float, SourceNetwork]] = deque()
        """Until when the places of failed handshakes stay taken, the earliest first."""
        self._resting_by_network: dict[SourceNetwork, int] = {}

    def enter(self, address: str, now: float) -> bool:
        """Count one more handshake from this address, or say False where that would be one too many."""
        self._wake(now)
        network = source_network(address)
        in_flight = self._by_network.get(network, 0)
        taken = in_flight + self._resting_by_network.get(network, 0)
        if self.total >= self.limit or taken >= self.limit_per_network:
            return False
        self.total += 1
        self._by_network[network] = in_flight + 1
        return True

    def leave(self, address: str) -> None:
        """Count one handshake less: it is complete."""
        self.total -= 1
        _take_one(self._by_network, source_network(address))

    def fail(self, address: str, now: float) -> None:
        """Count one handshake less: it has failed. Its network has one place less for `REST_S`."""
        self.leave(address)
        self._wake(now)
        network = source_network(address)
        self._resting.append((now + REST_S, network))
        self._resting_by_network[network] = self._resting_by_network.get(network, 0) + 1

    def _wake(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            _take_one(self._resting_by_network, self._resting.popleft()[1])


def _take_one(counts: dict[SourceNetwork, int], network: SourceNetwork) -> None:
    left = counts.pop(network) - 1
    if left:
        counts[network] = left
