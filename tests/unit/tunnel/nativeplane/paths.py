"""`struct path` of the core, and how addresses are written in it."""

from __future__ import annotations

import ctypes
from ipaddress import IPv4Address, IPv6Address, ip_address

NOWHERE = bytes(16)


def octets_of(host: str) -> bytes:
    """An address as a path has it: IPv4 mapped into IPv6."""
    address = ip_address(host)
    return IPv6Address(f"::ffff:{address}").packed if isinstance(address, IPv4Address) else address.packed


class Path(ctypes.Structure):
    """`struct path`."""

    _fields_ = (
        ("remote_octets", ctypes.c_uint8 * 16),
        ("local_octets", ctypes.c_uint8 * 16),
        ("scope", ctypes.c_uint32),
        ("port", ctypes.c_uint16),
        ("unused", ctypes.c_uint16),
        ("stream", ctypes.c_uint64),
    )

    @classmethod
    def to(cls, host: str, port: int, *, local: str | None = None, scope: int = 0, stream: int = 0) -> Path:
        path = cls(scope=scope, port=port, stream=stream)
        path.remote_octets[:] = octets_of(host)
        path.local_octets[:] = octets_of(local) if local else NOWHERE
        return path

    @property
    def remote(self) -> bytes:
        return bytes(self.remote_octets)

    @property
    def local(self) -> bytes:
        return bytes(self.local_octets)
