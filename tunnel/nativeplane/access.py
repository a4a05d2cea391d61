"""Access tables in the core's form, each once, shared by all peers that have it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from tunnel.nativeplane import _core
    from tunnel.plane import AccessTable

__all__ = ["NativeTable", "NativeTables"]


class NativeTable:
    """Keeps one native table; workers may go on reading it for a moment when this is gone."""

    __slots__ = ("__weakref__", "native")

    def __init__(self, native: _core.AccessTable) -> None:
        self.native = native


class NativeTables:
    """All tables in use by a plane."""

    __slots__ = ("_broadcast", "_core", "_gateway", "_in_use")

    def __init__(self, core: _core.Plane, network: IPv4Network, gateway: IPv4Address) -> None:
        self._core = core
        self._gateway = int(gateway)
        self._broadcast = int(network.broadcast_address)
        self._in_use: WeakValueDictionary[AccessTable, NativeTable] = WeakValueDictionary()

    def native(self, table: AccessTable) -> NativeTable:
        """The one native table for equal tables; it goes when the last peer with it goes."""
        found = self._in_use.get(table)
        if found is None:
            starts = b"".join(table.starts)
            made = self._core.access_table(starts, table.verdicts, self._gateway, self._broadcast)
            found = self._in_use[table] = NativeTable(made)
        return found
