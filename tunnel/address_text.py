"""Addresses as people read them and as octets: what control, logs and packets' paths have in common.

An IPv4 client of an IPv6 socket is an IPv4 client to everybody above: its IPv4-mapped address (RFC 4291 2.5.5.2) is
written as the IPv4 address that it stands for.
"""

from __future__ import annotations

import socket
from typing import Final

__all__ = ["MAPPED_TEXT", "host_text", "to_octets", "to_text"]

MAPPED_TEXT: Final = "::ffff:"
_MAPPED: Final = bytes(10) + b"\xff\xff"


def host_text(host: str) -> str:
    """The address that the kernel gave for a host, without the mapping of IPv4 into IPv6."""
    return host.removeprefix(MAPPED_TEXT) if "." in host else host


def to_text(octets: bytes) -> str:
    """An address of 4 or 16 octets."""
    if len(octets) == 4:
        return socket.inet_ntoa(octets)
    if octets.startswith(_MAPPED):
        return socket.inet_ntoa(octets[12:])
    return socket.inet_ntop(socket.AF_INET6, octets)


def to_octets(text: str) -> bytes:
    """The 16 octets of an address without a scope, an IPv4 address mapped. Raises OSError where it is none."""
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return _MAPPED + socket.inet_pton(socket.AF_INET, text)
