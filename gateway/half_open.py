"""Counts the handshakes in flight, in all and by source network, and says when there are too many.

It owns two numbers and a table that is never larger than the first of them; it knows nothing of connections.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

__all__ = ["HalfOpen", "SourceNetwork", "source_network"]

SourceNetwork = IPv4Network | IPv6Network

IPV4_PREFIX = 24
"""What one attacker, or one office behind NAT, typically has."""
IPV6_PREFIX = 56
"""What a provider typically gives one household."""


@lru_cache(maxsize=4096)
def source_network(address: str) -> SourceNetwork:
    """Give the /24 or /56 that stands for whoever is behind an address; mapped IPv4 addresses count as IPv4."""
    parsed: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    prefix = IPV4_PREFIX if isinstance(parsed, IPv4Address) else IPV6_PREFIX
    return ip_network((int(parsed).to_bytes(parsed.max_prefixlen // 8, "big"), prefix), strict=False)


class HalfOpen:
    """Handshakes in flight. Each `enter` that says True needs one `leave` with the same address."""

    def __init__(self, limit: int, limit_per_network: int) -> None:
        self.limit = limit
        self.limit_per_network = limit_per_network
        self.total = 0
        self._by_network: Counter[SourceNetwork] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more handshake from this address, or say False where that would be one too many."""
        network = source_network(address)
        if self.total >= self.limit or self._by_network[network] >= self.limit_per_network:
            return False
        self.total += 1
        self._by_network[network] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one handshake less: it is complete, or was given up."""
        network = source_network(address)
        self.total -= 1
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]
