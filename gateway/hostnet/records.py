"""The nouns of host networking: devices, links, rules and routes as the kernel knows them.

Values only. What they are for is decided in `routing`, `forwarding` and `firewall`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv4Network

__all__ = ["Device", "ForwardingState", "HostProblem", "Link", "Route", "Rule", "RuleAction", "still_there"]


@dataclass(frozen=True, slots=True)
class Device:
    """An interface that cannot be mistaken for a later one of the same name."""

    name: str
    ifindex: int


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel lists it."""

    name: str
    ifindex: int
    is_tun: bool
    is_up: bool
    mtu: int
    queue_length: int
    alias: str = ""
    """Free text that the administrator, or Portway, has attached."""

    @property
    def device(self) -> Device:
        """The interface's identity."""
        return Device(self.name, self.ifindex)


def still_there(device: Device, links: Mapping[str, Link]) -> bool:
    """Whether this very interface, and not a later one of its name, exists."""
    link = links.get(device.name)
    return link is not None and link.ifindex == device.ifindex


class RuleAction(enum.IntEnum):
    """What a routing rule does; the value is the kernel's `FR_ACT_*`."""

    LOOKUP = 1
    """Look into the rule's table, and go on to the next rule where it has no route."""
    UNREACHABLE = 7
    """Answer with ICMP network unreachable."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An IPv4 routing policy rule of ours."""

    priority: int
    table: int
    action: RuleAction = RuleAction.LOOKUP
    input_interface: str | None = None
    destination: IPv4Network | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """An IPv4 route of ours: straight out of an interface, or through a gateway there."""

    table: int
    destination: IPv4Network
    ifindex: int
    gateway: IPv4Address | None = None
    preferred_source: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class ForwardingState:
    """Which interfaces the kernel forwards IPv4 packets from."""

    host: bool
    """`net.ipv4.ip_forward`: whether the administrator has made the host a router."""
    interfaces: frozenset[int]
    """The ifindex of every interface whose own `forwarding` is on."""


@dataclass(frozen=True, slots=True)
class HostProblem:
    """Something that keeps part of an endpoint from working; the rest works, and it is tried again."""

    endpoint: str | None
    """None where it concerns the whole daemon."""
    target_network: str | None
    """None where it concerns the endpoint as a whole."""
    text: str
    """A sentence: what is wrong and what to do."""
