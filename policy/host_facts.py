"""What validation needs to know about the host, as somebody else has found it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Interface, IPv6Interface

__all__ = ["HostFacts", "HostInterface"]


@dataclass(frozen=True, slots=True)
class HostInterface:
    """A network interface with the addresses that it has, each with its network."""

    name: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    is_own: bool = False
    """Whether this daemon made it: its TUN devices have the client ranges, which is no overlap."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The interfaces of the host, the loopback among them."""

    interfaces: tuple[HostInterface, ...]

    def interface(self, name: str) -> HostInterface | None:
        """The interface of this name."""
        return next((interface for interface in self.interfaces if interface.name == name), None)

    @property
    def foreign(self) -> tuple[HostInterface, ...]:
        """The interfaces that this daemon did not make."""
        return tuple(interface for interface in self.interfaces if not interface.is_own)
