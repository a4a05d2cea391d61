"""Several TCP segments in one write to the TUN device: `IFF_VNET_HDR`.

Probe, use, fall back; which packets may go together is the business of `tunnel.pyplane.joining`.

A device that was opened so wants a `virtio_net_hdr` of 10 octets before each packet that is written. An empty one means
a packet that is as it shall be. One with a segment size makes the kernel treat many segments as one, through routing,
filters and the receiver's TCP, which answers them with one acknowledgement; it is cut into segments again, with new
checksums, only where the way out asks for that.
    https://docs.kernel.org/networking/tuntap.html; Virtual I/O Device 1.2, 5.1.6 "Device Operation"

Each packet that is read carries such a header too. It says nothing here: `TUNSETOFFLOAD` is left at 0, so that the
kernel cuts and checksums what it routes into the device. In Python that costs more than the reads that it would save.
"""

from __future__ import annotations

import fcntl
import struct
from typing import Final

__all__ = ["HEADER_SIZE", "IFF_VNET_HDR", "PLAIN", "expects_header", "train_header"]

IFF_VNET_HDR: Final = 0x4000
HEADER_SIZE: Final = 10
"""Octets before each packet, in both directions."""
PLAIN: Final = bytes(HEADER_SIZE)
"""Before a packet that is as it shall be."""

_TUNGETIFF: Final = 0x800454D2
_NAME_SIZE: Final = 16
_IFREQ_SIZE: Final = 40

_NEEDS_CSUM: Final = 1
_GSO_TCPV4: Final = 1
_IPV4_HEADER_SIZE: Final = 20
_TCP: Final = 6
_TCP_CHECKSUM: Final = (_IPV4_HEADER_SIZE, 16)
"""Where the sum begins, and where in there its complement goes."""
_virtio_net_hdr = struct.Struct("=BBHHHH").pack
"""flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, in the host's order."""


def expects_header(device: int) -> bool:
    """Whether an open device wants headers: the kernel says which of the flags it was asked for are in force."""
    try:
        answer = fcntl.ioctl(device, _TUNGETIFF, bytes(_IFREQ_SIZE))
    except OSError:
        return False
    flags: int = struct.unpack_from("=H", answer, _NAME_SIZE)[0]
    return bool(flags & IFF_VNET_HDR)


def train_header(headers: bytes, size: int, segment_size: int, *, last_flags: int) -> bytes:
    """What goes before the data of many TCP segments that are written as one packet of `size` octets.

    `headers` are those of the first segment (no IP options), `segment_size` is the data of each but the last, whose TCP
    flags go to the last one when the kernel cuts. The TCP checksum is left to the kernel, which wants to find the
    pseudo-header's sum in its place.
    """
    head = bytearray(headers)
    head[2:4] = size.to_bytes(2, "big")
    head[10:12] = b"\x00\x00"
    # The sum is never nothing, so 0 modulo 65,535 stands for 65,535, whose complement is 0.
    head[10:12] = (-int.from_bytes(head[:_IPV4_HEADER_SIZE], "big") % 65_535).to_bytes(2, "big")
    head[33] = last_flags
    pseudo_header = int.from_bytes(head[12:20], "big") + _TCP + size - _IPV4_HEADER_SIZE
    head[36:38] = (pseudo_header % 65_535).to_bytes(2, "big")
    return _virtio_net_hdr(_NEEDS_CSUM, _GSO_TCPV4, len(head), segment_size, *_TCP_CHECKSUM) + head
