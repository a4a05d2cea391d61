"""Who gains and loses access, address by address: routes and rules before and after, compiled as gateways compile them.

A rule that another one shadows so shows as nothing. A group differs from everyone only where its own rules are, so only
there is it looked at by itself: what there are of groups and rules may then both be thousands.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, collapse_addresses, summarize_address_range
from typing import TYPE_CHECKING, Final

from policy import Verdict, compile_access

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from policy import AccessTable, AuthorizationRule, EndpointSpec

__all__ = ["Comparison", "Difference"]

_END: Final = 2**32
_EVERYONE: Final = frozenset[str]()
_EVERYWHERE: Final = IPv4Network("0.0.0.0/0")

Span = tuple[int, int]
"""Addresses from the first to just before the last."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Networks that clients may reach anew, and no longer."""

    gains: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.gains or self.losses)


class Comparison:
    """One endpoint before and after; None where it is not there, or does not run."""

    def __init__(self, old: EndpointSpec | None, new: EndpointSpec | None) -> None:
        self._is_same = _basis(old) == _basis(new)
        self._sides = (_Side(old), _Side(new))
        self._everyone = self._changes(_EVERYONE, [_EVERYWHERE])
        self._known: dict[object, Difference] = {}

    @property
    def groups(self) -> list[str]:
        """The groups that rules name, before or after."""
        return sorted(self._sides[0].own.keys() | self._sides[1].own.keys())

    def difference(self, groups: AbstractSet[str]) -> Difference:
        """What clients with these groups gain and lose. Groups with equal rules are looked at once."""
        if self._is_same:
            return Difference()
        own = tuple(side.destinations(groups) for side in self._sides)
        if own not in self._known:
            region = list(collapse_addresses(own[0] | own[1]))
            spans = [_span(network) for network in region]
            both = zip(self._everyone, self._changes(groups, region), strict=True)
            self._known[own] = Difference(*(_networks((*_without(all_, spans), *mine)) for all_, mine in both))
        return self._known[own]

    def _changes(self, groups: AbstractSet[str], region: list[IPv4Network]) -> tuple[list[Span], list[Span]]:
        """What is gained and lost inside of a region."""
        before, after = (side.allowed(groups, region) for side in self._sides)
        return list(_without(after, before)), list(_without(before, after))


class _Side:
    """One of the two specs, with its rules by what they are about."""

    def __init__(self, spec: EndpointSpec | None) -> None:
        self._spec = spec
        self.own: defaultdict[str, set[IPv4Network]] = defaultdict(set)
        self._at: defaultdict[IPv4Network, list[AuthorizationRule]] = defaultdict(list)
        for rule in spec.authorization_rules if spec else ():
            self._at[rule.destination].append(rule)
            if rule.group is not None:
                self.own[rule.group].add(rule.destination)
        self._destinations = sorted(self._at)
        self._firsts = [int(network.network_address) for network in self._destinations]

    def destinations(self, groups: AbstractSet[str]) -> frozenset[IPv4Network]:
        """What rules name for these groups."""
        return frozenset[IPv4Network]().union(*(self.own[group] for group in groups if group in self.own))

    def allowed(self, groups: AbstractSet[str], region: list[IPv4Network]) -> list[Span]:
        """What of a region clients with these groups may reach."""
        if self._spec is None or not region:
            return []
        near = dict.fromkeys(destination for network in region for destination in self._near(network))
        rules = tuple(rule for destination in near for rule in self._at[destination])
        spans = _spans(compile_access(replace(self._spec, authorization_rules=rules), groups))
        outside = list(_without(spans, [_span(network) for network in region]))
        return list(_without(spans, outside))

    def _near(self, network: IPv4Network) -> Iterator[IPv4Network]:
        """The destinations of rules that meet a network: those around it, and those in it."""
        for prefix in range(network.prefixlen):
            around = network.supernet(new_prefix=prefix)
            if around in self._at:
                yield around
        first, end = _span(network)
        for destination in self._destinations[bisect_left(self._firsts, first) : bisect_right(self._firsts, end - 1)]:
            if destination.prefixlen >= network.prefixlen:
                yield destination


def _basis(spec: EndpointSpec | None) -> object:
    """All that access follows from."""
    return (spec.client_cidr_block, spec.routes, spec.authorization_rules) if spec else None


# Addresses


def _span(network: IPv4Network) -> Span:
    return int(network.network_address), int(network.broadcast_address) + 1


def _spans(table: AccessTable) -> list[Span]:
    starts = [int.from_bytes(start, "big") for start in table.starts]
    ends = [*starts[1:], _END]
    verdicts = map(Verdict, table.verdicts)
    return [(start, end) for start, end, verdict in zip(starts, ends, verdicts, strict=True) if verdict.allowed]


def _without(spans: Iterable[Span], others: Iterable[Span]) -> Iterator[Span]:
    """What of ascending spans is in none of the other ascending ones."""
    rest = deque(others)
    for start, end in spans:
        begin = start
        while rest and rest[0][1] <= begin:
            rest.popleft()
        for other_start, other_end in rest:
            if other_start >= end:
                break
            if begin < other_start:
                yield begin, other_start
            begin = max(begin, other_end)
        if begin < end:
            yield begin, end


def _networks(spans: Iterable[Span]) -> tuple[str, ...]:
    """The fewest networks, in ascending order."""
    ranges = (summarize_address_range(IPv4Address(start), IPv4Address(end - 1)) for start, end in spans)
    return tuple(map(str, collapse_addresses(network for networks in ranges for network in networks)))
