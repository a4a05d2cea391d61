"""From prefixes to intervals: longest-prefix match for all of IPv4 at once.

Prefixes nest or are disjoint, never anything else. So one pass over them in order, with a stack of those that are
open, gives for every address the value of the longest prefix that contains it. Knows nothing of routes or rules.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from ipaddress import IPv4Network

__all__ = ["Interval", "overlay", "sweep"]

_LAST_ADDRESS = 2**32 - 1


class Interval(NamedTuple):
    """A value that holds from `start` to just before the next interval's start, the last one to the end."""

    start: int
    value: bool


class _Prefix(NamedTuple):
    """In the order of the sweep: by first address, and of those that begin together the widest first."""

    first: int
    descending_last: int
    value: bool


def sweep(prefixes: Iterable[tuple[IPv4Network, bool]], *, default: bool) -> list[Interval]:
    """The value of the longest prefix around each address, `default` where there is none.

    The intervals ascend and begin at 0. The same prefix must not come twice with different values.
    """
    intervals = _Intervals(default)
    open_prefixes = [(_LAST_ADDRESS, default)]

    def close_before(address: int) -> None:
        while open_prefixes[-1][0] < address:
            last, _ = open_prefixes.pop()
            intervals.begin(last + 1, open_prefixes[-1][1])

    for first, descending_last, value in sorted(_prefix(network, value) for network, value in prefixes):
        close_before(first)
        intervals.begin(first, value)
        open_prefixes.append((-descending_last, value))
    close_before(_LAST_ADDRESS)
    return intervals.found


def overlay(*layers: Sequence[Interval]) -> Iterator[tuple[int, tuple[bool, ...]]]:
    """Lay sweeps over each other: the start of every interval of any layer, with all layers' values there."""
    changes = sorted((start, layer, value) for layer, intervals in enumerate(layers) for start, value in intervals)
    values = [False] * len(layers)
    for start, together in groupby(changes, key=itemgetter(0)):
        for _, layer, value in together:
            values[layer] = value
        yield start, tuple(values)


class _Intervals:
    """Collects intervals; one that begins where the last one did replaces it."""

    def __init__(self, default: bool) -> None:
        self.found = [Interval(0, default)]

    def begin(self, start: int, value: bool) -> None:
        if self.found[-1].start == start:
            self.found.pop()
        self.found.append(Interval(start, value))


def _prefix(network: IPv4Network, value: bool) -> _Prefix:
    first = int(network.network_address)
    return _Prefix(first, -(first | int(network.hostmask)), value)
