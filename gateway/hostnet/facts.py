"""Reads what validation needs to know about the host. Needs no privilege, changes nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gateway.hostnet.netlink import Netlink
from gateway.hostnet.tunnel_device import is_alias_of
from policy import HostFacts, HostInterface

if TYPE_CHECKING:
    from ipaddress import IPv4Interface, IPv6Interface

__all__ = ["read_host_facts"]


def read_host_facts(daemon_id: str = "") -> HostFacts:
    """The interfaces of this host; those that the daemon of this id made are marked as its own.

    Blocking, for a few milliseconds. Raises `KernelRefusedError`.
    """
    with Netlink() as netlink:
        links = netlink.links()
        addresses: defaultdict[int, list[IPv4Interface | IPv6Interface]] = defaultdict(list)
        for ifindex, address in netlink.all_addresses():
            addresses[ifindex].append(address)
    return HostFacts(
        tuple(
            HostInterface(
                name=link.name,
                addresses=tuple(addresses[link.ifindex]),
                is_own=link.is_tun and is_alias_of(link.alias, daemon_id),
            )
            for link in links.values()
        )
    )
