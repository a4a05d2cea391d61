"""What a client says about itself in key method 2: lines of NAME=value (OpenVPN `push_peer_info`).

All of it is a stranger's text. Names and values are cut down to what can do no harm in a log, a file or a
terminal, as OpenVPN does before it hands them to scripts.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IvProto", "PeerInfo", "build_peer_info", "parse_peer_info_untrusted"]

MAX_NAMES = 64
"""A client with `push-peer-info` and a few variables of its own sends about twenty."""

MAX_LINE = 255
"""OpenVPN cuts lines here too."""

_NAME = re.compile(r"(?:IV|UV)_[A-Za-z0-9_]{1,60}")
_HARMFUL = re.compile(r"[^\x20-\x7e]|[\s$(`]")


class IvProto(enum.IntFlag):
    """The bits of IV_PROTO: what the client's protocol can do (OpenVPN `ssl.h`)."""

    DATA_V2 = 1 << 1
    """Understands peer ids."""
    REQUEST_PUSH = 1 << 2
    """Takes PUSH_REPLY without asking for it."""
    TLS_KEY_EXPORT = 1 << 3
    """Can derive data keys by the TLS exporter."""
    AUTH_PENDING_KW = 1 << 4
    """Understands `AUTH_PENDING,timeout N`."""
    NCP_P2P = 1 << 5
    """Runs in peer-to-peer mode: takes no pushed options."""
    DNS_OPTION = 1 << 6
    """Knows an early draft of the `dns` option; not used."""
    CC_EXIT_NOTIFY = 1 << 7
    """Says EXIT in the control channel, and understands `protocol-flags`."""
    AUTH_FAIL_TEMP = 1 << 8
    """Understands `AUTH_FAILED,TEMP`."""
    DYN_TLS_CRYPT = 1 << 9
    """Can protect renegotiations with a key from the TLS session."""
    DATA_EPOCH = 1 << 10
    """Knows the epoch data format."""
    DNS_OPTION_V2 = 1 << 11
    """Knows the `dns` option."""
    PUSH_UPDATE = 1 << 12
    """Takes changed options while connected."""


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A client's own words about itself, made harmless; empty for a client that says nothing."""

    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def version(self) -> str:
        """IV_VER, such as 2.6.14; empty if not told."""
        return self.values.get("IV_VER", "")

    @property
    def platform(self) -> str:
        """IV_PLAT, such as linux, win, mac, ios or android; empty if not told."""
        return self.values.get("IV_PLAT", "")

    @property
    def proto(self) -> IvProto:
        """IV_PROTO; clients before 2.4 have none, which is 0."""
        return _parse_proto(self.values.get("IV_PROTO", "0"))

    @property
    def ciphers(self) -> tuple[str, ...]:
        """The data ciphers that the client knows, upper case: IV_CIPHERS, or what IV_NCP=2 implies."""
        listed = self.values.get("IV_CIPHERS", "")
        if listed:
            return tuple(name.upper() for name in listed.split(":") if name)
        return ("AES-256-GCM", "AES-128-GCM") if self.values.get("IV_NCP") == "2" else ()

    @property
    def takes_unrequested_push(self) -> bool:
        """The client accepts PUSH_REPLY without having sent PUSH_REQUEST."""
        return IvProto.REQUEST_PUSH in self.proto

    @property
    def takes_push_beside_key_method(self) -> bool:
        """The client keeps an unrequested PUSH_REPLY that comes with the server's key-method-2 block until it is ready.

        OpenVPN 2 begins to read text when its key is active, with what has come by then. OpenVPN 3 drops that.
        """
        return self.takes_unrequested_push and self.version.startswith("2.")

    @property
    def takes_pushed_mtu(self) -> bool:
        """IV_MTU is there: the client accepts `tun-mtu`."""
        return "IV_MTU" in self.values

    @property
    def has_stub_v2(self) -> bool:
        """The client can turn a configured compression into `compress stub-v2`, which adds no octets."""
        return self.values.get("IV_COMP_STUBv2") == "1"


@functools.lru_cache(maxsize=64)
def _parse_proto(value: str) -> IvProto:
    """Read the number once for all clients of one kind; what is no such number is 0."""
    readable = value.isascii() and value.isdecimal() and len(value) < 10
    return IvProto(int(value) & 0xFFFF if readable else 0)


def parse_peer_info_untrusted(text: str) -> PeerInfo:
    """Read the lines of a peer info; lines that are no NAME=value with a known prefix are left out."""
    values: dict[str, str] = {}
    for line in text.split("\n"):
        name, separator, value = line[:MAX_LINE].partition("=")
        if separator and _NAME.fullmatch(name) and len(values) < MAX_NAMES:
            values[name] = _HARMFUL.sub("_", value)
    return PeerInfo(MappingProxyType(values))


def build_peer_info(values: Mapping[str, str]) -> str:
    """The lines of a peer info, as a client sends them."""
    return "".join(f"{name}={value}\n" for name, value in values.items())
