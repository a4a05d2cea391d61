"""Whether a prefix touches any of many: a bisection, where comparing each with each would take seconds."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from policy.prefix_sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network

__all__ = ["PrefixSet"]


class PrefixSet:
    """An immutable set of prefixes that can be asked about overlaps."""

    def __init__(self, networks: Iterable[IPv4Network]) -> None:
        covered = sweep(((network, True) for network in networks), default=False)
        self._starts = [interval.start for interval in covered]
        self._values = [interval.value for interval in covered]

    def overlaps(self, network: IPv4Network) -> bool:
        """Whether any prefix of the set has an address in common with this one."""
        first = int(network.network_address)
        last = first | int(network.hostmask)
        return any(self._values[self._at(first) : self._at(last) + 1])

    def _at(self, address: int) -> int:
        return bisect_right(self._starts, address) - 1
