"""The TUN device's own settings: address, MTU, queue, alias, up and down. It is made, and vanishes, elsewhere."""

from __future__ import annotations

import errno
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from gateway.hostnet.errors import HostNetworkError, KernelRefusedError
from gateway.hostnet.records import Device, Link, still_there

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.hostnet.netlink import Netlink
    from policy import EndpointSpec

__all__ = ["QUEUE_LENGTH", "build_alias", "is_alias_of", "set_up_device", "take_down_device"]

QUEUE_LENGTH = 1000
"""Packets that may wait for the gateway to read them; the kernel's 500 is shorter than one burst of offloaded TCP."""


def build_alias(daemon_id: str, endpoint: str) -> str:
    """What `ip link` shows beside the device; unlike the nftables table, everybody may read it."""
    return f"portway {daemon_id} {endpoint}"


def is_alias_of(alias: str, daemon_id: str) -> bool:
    """Whether a device with this alias belongs to this daemon."""
    return alias.split(" ")[:2] == ["portway", daemon_id]


def set_up_device(netlink: Netlink, device: Device, spec: EndpointSpec, alias: str, links: Mapping[str, Link]) -> None:
    """Bring the device to what the spec says, touching only what differs; `HostNetworkError` where it is gone."""
    if not still_there(device, links):
        raise HostNetworkError(f"the TUN device {device.name} of endpoint {spec.name!r} is gone; restart the endpoint")
    link = links[device.name]
    _set_address(netlink, device, spec)
    differing = {
        key: wanted
        for key, wanted, present in (
            ("mtu", spec.data_channel.mtu, link.mtu),
            ("txqlen", QUEUE_LENGTH, link.queue_length),
            ("ifalias", alias, link.alias),
        )
        if wanted != present
    }
    if differing:
        netlink.set_link(device, **differing)
    if not link.is_up:
        netlink.disable_ipv6_autoconf(device)
        netlink.set_link(device, state="up")


def take_down_device(netlink: Netlink, device: Device, links: Mapping[str, Link]) -> None:
    """Stop all traffic of the device and take its addresses; a device that is gone is no error."""
    if not still_there(device, links):
        return
    try:
        netlink.set_link(device, state="down")
        for address in netlink.addresses(device):
            netlink.remove_address(device, address)
    except KernelRefusedError as error:
        if error.code != errno.ENODEV:  # it went just now
            raise


def _set_address(netlink: Netlink, device: Device, spec: EndpointSpec) -> None:
    address = IPv4Interface((spec.gateway_address, spec.client_cidr_block.prefixlen))
    present = netlink.addresses(device)
    for stale in present - {address}:
        netlink.remove_address(device, stale)
    if address not in present:
        netlink.add_address(device, address)
