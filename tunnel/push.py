"""PUSH_REPLY: the configuration that the server gives a client (OpenVPN `push.c`).

Long replies are split: each piece starts with PUSH_REPLY, all but the last end with `push-continuation 2`,
the last with `push-continuation 1`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunnel.banner import banner_options
from tunnel.control_messages import MAX_MESSAGE, PUSH_REPLY
from tunnel.errors import HandshakeError
from tunnel.events import CloseReason
from tunnel.peer_info import IvProto

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv4Address, IPv4Network

    from tunnel.negotiation import Negotiated
    from tunnel.peer_info import PeerInfo

__all__ = ["PushReplyReader", "PushSettings", "build_push_reply"]

MAX_PUSHED_OPTIONS = 65_536
"""A client takes no more: some servers push thousands of routes, but a reply without an end would take all memory."""

_ROOM_FOR_CONTINUATION = len(",push-continuation 2") + 1
"""The continuation mark and the NUL."""
_EXIT_NOTICES = 1
"""How often a leaving client says so; it waits a second after each."""


@dataclass(frozen=True, slots=True)
class PushSettings:
    """What one client is told; the gateway's decisions, without those that were negotiated."""

    peer_id: int
    address: IPv4Address
    """The client's address inside the tunnel."""
    network: IPv4Network
    """The client range, which gives the netmask."""
    gateway: IPv4Address
    routes: tuple[IPv4Network, ...] = ()
    redirect_gateway: bool = False
    """Full tunnel: all IPv4 traffic of the client."""
    block_local: bool = False
    """With a full tunnel: what is for the client's own local network, too, but for its router."""
    dns_servers: tuple[IPv4Address, ...] = ()
    search_domains: tuple[str, ...] = ()
    ping_interval_s: int = 10
    ping_restart_s: int = 60
    mtu: int = 1500
    banner: str = ""
    """A text for the client's user."""


def build_push_reply(
    settings: PushSettings, negotiated: Negotiated, peer_info: PeerInfo, *, datagrams: bool = True
) -> list[str]:
    """The messages, in order, each short enough for every client.

    `datagrams`: the client comes over UDP, so that its end cannot be seen and has to be told.
    """
    options = list(_options(settings, negotiated, peer_info))
    if datagrams:
        options.append(f"explicit-exit-notify {_EXIT_NOTICES}")
    pieces: list[str] = []
    piece = PUSH_REPLY
    for option in options:
        if len(piece) + 1 + len(option) + _ROOM_FOR_CONTINUATION > MAX_MESSAGE:
            pieces.append(piece)
            piece = PUSH_REPLY
        piece += f",{option}"
    pieces.append(piece)
    if len(pieces) == 1:
        return pieces
    return [f"{piece},push-continuation 2" for piece in pieces[:-1]] + [f"{pieces[-1]},push-continuation 1"]


def _options(settings: PushSettings, negotiated: Negotiated, peer_info: PeerInfo) -> Iterator[str]:
    yield "topology subnet"  # OpenVPN 3 assumes net30 without it
    yield f"route-gateway {settings.gateway}"
    yield f"ifconfig {settings.address} {settings.network.netmask}"
    if settings.redirect_gateway:
        yield f"redirect-gateway def1 bypass-dhcp{' block-local' if settings.block_local else ''}"
    for route in settings.routes:
        yield _route_option(route)
    yield from _dns_options(settings, peer_info)
    yield f"ping {settings.ping_interval_s}"
    yield f"ping-restart {settings.ping_restart_s}"
    yield f"cipher {negotiated.cipher.value}"
    if negotiated.data_v2:
        yield f"peer-id {settings.peer_id}"
    yield from _protocol_options(negotiated)
    if peer_info.takes_pushed_mtu:
        yield f"tun-mtu {settings.mtu}"
    if negotiated.compress_stub_v2:
        yield "compress stub-v2"
    yield from banner_options(settings.banner)


@functools.lru_cache(maxsize=1024)
def _route_option(route: IPv4Network) -> str:
    """Written once for all the clients that it is pushed to."""
    return f"route {route.network_address} {route.netmask}"


def _dns_options(settings: PushSettings, peer_info: PeerInfo) -> Iterator[str]:
    for server in settings.dns_servers:
        yield f"dhcp-option DNS {server}"
    for index, domain in enumerate(settings.search_domains):
        yield f"dhcp-option {'DOMAIN' if index == 0 else 'DOMAIN-SEARCH'} {domain}"
    if IvProto.DNS_OPTION_V2 in peer_info.proto and settings.dns_servers:
        yield f"dns server 0 address {' '.join(str(server) for server in settings.dns_servers)}"
        if settings.search_domains:
            yield f"dns search-domains {' '.join(settings.search_domains)}"
    if peer_info.platform == "win" and settings.dns_servers and settings.redirect_gateway:
        yield "block-outside-dns"


def _protocol_options(negotiated: Negotiated) -> Iterator[str]:
    """Only words that the client has said it knows: an unknown one sends OpenVPN 3 into a reconnect loop."""
    if negotiated.cc_exit:
        flags = ["cc-exit"]
        if negotiated.tls_ekm:
            flags.append("tls-ekm")
        if negotiated.dynamic_tls_crypt:
            flags.append("dyn-tls-crypt")
        yield f"protocol-flags {' '.join(flags)}"
    elif negotiated.tls_ekm:
        yield "key-derivation tls-ekm"


class PushReplyReader:
    """The client's side: collects the pieces of a reply."""

    __slots__ = ("_options",)

    def __init__(self) -> None:
        self._options: list[str] = []

    def feed_untrusted(self, message: str) -> Sequence[str] | None:
        """The options of the whole reply once its last piece is there.

        Raises `HandshakeError` for a reply that has no end.
        """
        options = message.split(",")[1:]
        self._options += [option for option in options if not option.startswith("push-continuation")]
        if len(self._options) > MAX_PUSHED_OPTIONS:
            text = f"The server pushes more than {MAX_PUSHED_OPTIONS} options."
            raise HandshakeError(CloseReason.PROTOCOL_ERROR, text)
        return None if "push-continuation 2" in options else tuple(self._options)
