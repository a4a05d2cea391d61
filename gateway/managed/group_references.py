"""Who is behind a security group that a rule names: its members' addresses, since a spec knows addresses only.

The members of a group are the target networks that carry it, as whoever is at the other end sees their traffic:

- routed (`nat = false`), the clients themselves: the client range of the endpoint;
- translated, the host: the addresses of the interface that leads to the network. They are read when the endpoint is
  built, so an interface that is given another address later is known by it with the next change.

A group that nothing carries has no members, and a rule that names it allows nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Carrier", "group_members"]


@dataclass(frozen=True, slots=True)
class Carrier:
    """A target network with its security groups."""

    group_ids: tuple[str, ...]
    client_range: IPv4Network
    nat: bool
    interface_addresses: tuple[IPv4Address, ...] = ()
    """The host's own, on the interface that leads there."""

    @property
    def networks(self) -> tuple[IPv4Network, ...]:
        """The addresses that the other end sees."""
        return tuple(map(IPv4Network, self.interface_addresses)) if self.nat else (self.client_range,)


def group_members(carriers: Iterable[Carrier]) -> Mapping[str, tuple[IPv4Network, ...]]:
    """The addresses of each group that has members, joined where they meet, in ascending order."""
    found: defaultdict[str, set[IPv4Network]] = defaultdict(set)
    for carrier in carriers:
        for group_id in carrier.group_ids:
            found[group_id].update(carrier.networks)
    return {group_id: tuple(collapse_addresses(networks)) for group_id, networks in found.items() if networks}
