"""Verdicts by destination: an `AccessTable` with its recent answers at hand, shared by all peers that have it."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from tunnel.inner_packet import is_unicast
from tunnel.plane import Drop, Verdict

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from tunnel.plane import AccessTable

__all__ = ["Access", "AccessTables"]

_MOST_ANSWERS: Final = 4096
"""Answers kept per table, about 100 octets each. A dictionary hit costs a third of the bisection."""

_BY_VERDICT: Final[tuple[Verdict | Drop, ...]] = (Drop.NO_ROUTE, Drop.NO_RULE, Verdict.FORWARD, Verdict.LOCAL)
"""What a table's verdict means for a packet, by its number."""


class Access:
    """What becomes of a packet from a client, by its destination."""

    __slots__ = ("__weakref__", "_broadcast", "_gateway", "_table", "answers")

    def __init__(self, table: AccessTable, gateway: bytes, broadcast: bytes) -> None:
        self._table = table
        self._gateway = gateway
        self._broadcast = broadcast
        self.answers: dict[bytes, Verdict | Drop] = {}
        """Look here first; `decide` knows the rest."""

    def decide(self, destination: bytes) -> Verdict | Drop:
        """`FORWARD` to the TUN device, `LOCAL` to another peer, or the cause for which to drop the packet."""
        if len(self.answers) >= _MOST_ANSWERS:
            self.answers.clear()
        answer = self.answers[destination] = self._answer(destination)
        return answer

    def _answer(self, destination: bytes) -> Verdict | Drop:
        if destination == self._broadcast or not is_unicast(destination):
            return Drop.MULTICAST
        answer = _BY_VERDICT[self._table.verdicts[bisect_right(self._table.starts, destination) - 1]]
        if answer is Verdict.LOCAL and destination == self._gateway:
            return Verdict.FORWARD
        return answer


class AccessTables:
    """All tables in use by a plane, each once."""

    __slots__ = ("_broadcast", "_gateway", "_in_use")

    def __init__(self, network: IPv4Network, gateway: IPv4Address) -> None:
        self._gateway = gateway.packed
        self._broadcast = network.broadcast_address.packed
        self._in_use: WeakValueDictionary[AccessTable, Access] = WeakValueDictionary()

    def access(self, table: AccessTable) -> Access:
        """The one `Access` for equal tables; it goes when the last peer with it goes."""
        found = self._in_use.get(table)
        if found is None:
            found = self._in_use[table] = Access(table, self._gateway, self._broadcast)
        return found
