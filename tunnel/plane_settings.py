"""What a data plane is made with. Values only; where they come from is not known here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunnel.data_channel import WearLimits

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address

    from tunnel.plane import Transport

__all__ = ["PlaneSettings", "StreamLimits"]


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What TCP clients may cost."""

    backlog_octets: int = 256 << 10
    """Data that may wait for a client that reads slowly; what comes on top is dropped. About 180 full packets."""
    control_backlog_octets: int = 256 << 10
    """Control packets that may wait on top of that. They cannot be dropped, so the stream is closed instead."""
    unproven: int = 1000
    """Streams on which no client has been let in yet."""
    unproven_per_prefix: int = 128
    """The same from one /24 (IPv4) or /56 (IPv6)."""
    first_packet_timeout_s: float = 10
    """How long a new stream may take to deliver its first whole control packet: data or rubbish is not enough."""
    close_timeout_s: float = 5
    """How long a stream that is being closed may take to write what waits, and the client to close its side."""


@dataclass(frozen=True, slots=True)
class PlaneSettings:
    """Where a plane listens, what its tunnel looks like, and its limits."""

    listen: IPv4Address | IPv6Address
    """`::` listens on IPv4 as well."""
    port: int
    """For all transports; 0 lets the kernel choose."""
    transports: frozenset[Transport]
    network: IPv4Network
    """The client range: its broadcast address is no destination."""
    gateway: IPv4Address
    """The gateway's own address inside the tunnel."""
    workers: int = 1
    """Threads that move packets, for a plane that has threads: one for each core is best."""
    mtu: int = 1500
    """Largest inner packet, in octets."""
    device_name: str = "portway%d"
    """Of the TUN device; the kernel numbers it."""
    udp_offload: bool = True
    """False sends and receives one datagram per system call, as where a network card mangles joined ones."""
    tun_offload: bool = True
    """False writes one packet per system call to the TUN device."""
    wear: WearLimits = field(default_factory=WearLimits)
    """When keys are reported as worn, besides the ciphers' own limits."""
    streams: StreamLimits = field(default_factory=StreamLimits)
