"""The data plane's interface: what control tells it, and what it hands up.

A data plane is a device. It owns the sockets, the TUN device and every data packet; it is told which peers
there are, where they are, their keys and what they may reach. It never learns who a peer is, and control
never touches a data packet. There are two implementations: `tunnel.nativeplane`, in C and with threads of its own, and
`tunnel.pyplane`, the readable reference on the trio loop. Both pass the same tests, and take over peers of each other.

The way of a packet, and where each `Drop` is counted:

    from a client   datagram or frame ▶ opcode ▶ peer (UNKNOWN_PEER) ▶ key (UNKNOWN_KEY) ▶ open (AUTHENTICATION)
                    ▶ replay window (REPLAY) ▶ address of the datagram: float? ▶ ping, exit notice: swallowed
                    ▶ IPv4 header (NOT_IPV4, BAD_HEADER) ▶ source is the peer's own (SPOOFED_SOURCE)
                    ▶ destination (MULTICAST, then the access table: NO_ROUTE, NO_RULE) ▶ MSS clamp
                    ▶ TUN, or another peer where the table says LOCAL (NO_PEER)
    to a client     TUN ▶ IPv4 header ▶ owner of the destination (NO_PEER) ▶ MSS clamp ▶ seal
                    ▶ socket (SEND_FAILED), or the stream's bounded backlog (BACKLOG)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import trio

    from tunnel.data_keys import DataKey

__all__ = [
    "AccessTable",
    "DataPlane",
    "Drop",
    "KeyState",
    "Path",
    "Peer",
    "PeerState",
    "PlaneEvents",
    "PlaneFacts",
    "Traffic",
    "Transport",
    "Verdict",
]


class Transport(enum.Enum):
    """What carries the outer packets."""

    UDP = "udp"
    TCP = "tcp"


class Verdict(enum.IntEnum):
    """What becomes of a packet from a client, by its destination."""

    NO_ROUTE = 0
    """No route of the endpoint covers the destination: drop."""
    NO_RULE = 1
    """There is a route, but no authorization rule for this client: drop."""
    FORWARD = 2
    """Authorised: to the TUN device, and by the host's routing to the target network."""
    LOCAL = 3
    """Authorised and inside the client range: to the peer that owns the address (the gateway's own address: TUN)."""


class Drop(enum.Enum):
    """Why a packet went no further; each has a counter."""

    NOT_OPENVPN = "not-openvpn"
    """The first octet is no opcode that a client may send, or the packet is too short for its opcode."""
    UNKNOWN_PEER = "unknown-peer"
    """A data packet with a peer id, or from an address, that belongs to nobody."""
    UNKNOWN_KEY = "unknown-key"
    """A data packet with a key id that its peer does not have (normal for a moment around a key change)."""
    AUTHENTICATION = "authentication"
    """The AEAD tag or the HMAC is wrong."""
    REPLAY = "replay"
    """A packet id seen before, or older than the replay window."""
    FLOAT_REFUSED = "float-refused"
    """An authentic packet from a new address that belongs to another peer, or that moved too often."""
    NOT_IPV4 = "not-ipv4"
    """The inner packet is not IPv4."""
    BAD_HEADER = "bad-header"
    """The inner IPv4 header contradicts itself or the packet's length."""
    SPOOFED_SOURCE = "spoofed-source"
    """The inner source address is not the peer's own."""
    MULTICAST = "multicast"
    """The inner destination is multicast, broadcast, loopback or unspecified."""
    OVERSIZE = "oversize"
    """The inner packet is larger than the tunnel's MTU."""
    NO_ROUTE = "no-route"
    """`Verdict.NO_ROUTE`."""
    NO_RULE = "no-rule"
    """`Verdict.NO_RULE`."""
    NO_PEER = "no-peer"
    """The inner destination is in the client range, but no connected client has it."""
    NO_KEY = "no-key"
    """The peer that owns the destination has no key to send with yet, or its last key is used up."""
    TUN_REFUSED = "tun-refused"
    """The TUN device did not take the packet."""
    SEND_FAILED = "send-failed"
    """The socket did not take the packet."""
    BACKLOG = "backlog"
    """The client reads its TCP stream too slowly."""


@dataclass(frozen=True, slots=True)
class AccessTable:
    """What one peer may reach, as sorted intervals: the verdict for an address is a bisection away.

    Interval i runs from `starts[i]` to just before `starts[i + 1]` (the last one to 255.255.255.255).
    `starts` are addresses as 4 octets in network order, ascending, the first 0.0.0.0. `verdicts[i]` is a
    `Verdict`. Tables are shared by all peers with the same rights, and replaced whole.
    """

    starts: tuple[bytes, ...]
    verdicts: bytes


@dataclass(frozen=True, slots=True)
class Path:
    """Where a client is reached: opaque to control, except for the log.

    Equal paths are the same way to the same client: for UDP the remote and local address, for TCP one
    accepted stream.
    """

    transport: Transport
    remote: tuple[str, int]
    """The client's public address and port."""
    local: str = ""
    """UDP: the address of this host that the client sent to, so that answers leave from it. TCP: empty."""
    stream: int = 0
    """TCP: the number of the accepted stream, never reused. UDP: 0."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An authorised client, as the plane needs to know it."""

    peer_id: int
    """0 to 0xFFFFFE; names the client in DATA_V2 packets, both ways."""
    path: Path
    inside: bytes
    """The client's address inside the tunnel, 4 octets in network order: its only valid source."""
    access: AccessTable
    ping_interval_s: float
    """Send a ping when nothing was sent for so long."""
    idle_timeout_s: float
    """Report the peer idle when nothing authentic arrived for so long."""
    data_v2: bool = True
    """Send DATA_V2 (with the peer id); only clients without it get DATA_V1."""
    mss: int = 0
    """Largest TCP segment that a SYN through the tunnel may announce; 0 leaves SYNs alone."""


@dataclass(slots=True)
class Traffic:
    """What a peer has moved: inner packets and their octets, without pings and overhead.

    Ingress is what the client sent, egress what was sealed for it, as AWS Client VPN counts them. What a socket then
    refused is among the egress and among the drops (`SEND_FAILED`).
    """

    ingress_packets: int = 0
    ingress_bytes: int = 0
    egress_packets: int = 0
    egress_bytes: int = 0
    drops: dict[Drop, int] = field(default_factory=dict)
    """Packets of this peer that were dropped, by cause."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """Where a key of a peer stands, so that another plane can go on with it and repeat nothing."""

    key: DataKey
    sealed_packets: int = 0
    """Packets sent under it, which is also the last packet id: a plane that goes on begins after it."""
    sealed_octets: int = 0
    opened_octets: int = 0
    """Payload octets, as the limits of a key count them."""
    failures: int = 0
    """Packets that were not authentic."""
    greatest_opened: int = 0
    """The greatest packet id accepted; 0 before the first."""
    opened: bytes = b""
    """Which packet ids were accepted: the first bit, the most significant of the first octet, is `greatest_opened`, the
    next the id before it, and so on. What lies beyond the last octet counts as accepted."""


@dataclass(frozen=True, slots=True)
class PeerState:
    """Everything that a plane knows of a peer: plain values, which another plane, or a later process, goes on with."""

    peer: Peer
    """With the path and the access table of the moment."""
    keys: tuple[KeyState, ...]
    sending: int | None
    """The key id that is sent under; None before the first was activated."""
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class PlaneFacts:
    """What a plane is, and which help of the kernel it has: for whoever looks after the host."""

    name: str
    """`native` or `python`."""
    workers: int
    """Threads that move packets."""
    udp_gso: bool = False
    """Many datagrams leave in one system call (`UDP_SEGMENT`). Goes False when the network device refuses."""
    udp_gso_refused: bool = False
    """A network device has refused (EIO: it has no checksum offload), and since then datagrams leave one by one."""
    tun_tso: bool = False
    """TCP comes out of the TUN device in segments of up to 64 KB, which the plane cuts."""
    tun_uso: bool = False
    """The same for UDP (Linux 6.2)."""
    aead: str = "libcrypto"
    """What seals and opens packets with the AEAD ciphers: `libcrypto` or `intel-ipsec-mb`."""
    lost_control_packets: int = 0
    """Control packets that arrived faster than control took them; their senders repeat them."""
    worker_cpu_s: tuple[float, ...] = ()
    """CPU time that each worker has used; empty where workers are no threads of their own."""


class PlaneEvents(Protocol):
    """What a plane hands up. Called on the trio thread; must return quickly and must not raise."""

    def control_received(self, path: Path, packet: bytes) -> None:
        """A packet that is not data arrived: opcode 3 to 5, 7, 8, 10 or 11, otherwise unchecked."""

    def peer_floated(self, peer_id: int, path: Path) -> None:
        """An authentic packet came from a new address; the plane already sends there."""

    def peer_idle(self, peer_id: int) -> None:
        """Nothing authentic arrived for the peer's idle timeout. Said once."""

    def peer_exited(self, peer_id: int) -> None:
        """The client sent an exit notice in its data channel (OCC EXIT)."""

    def key_worn(self, peer_id: int) -> None:
        """The sending or receiving key nears its limit of packets or octets: renegotiate. Said once per key."""

    def stream_opened(self, path: Path) -> None:
        """A TCP connection was accepted."""

    def stream_closed(self, path: Path) -> None:
        """A TCP connection has ended, by whichever side."""


class DataPlane(Protocol):
    """One endpoint's data plane. Every method returns at once and is called on the trio thread.

    `KeyError` for a peer id that is not there is a bug of the caller, never of a client.
    """

    async def run(self, events: PlaneEvents, *, task_status: trio.TaskStatus[None] = ...) -> None:
        """Move packets until cancelled, then close sockets and device. Started when everything listens."""

    def add_peer(self, peer: Peer) -> None:
        """Let a client in; without a key it moves nothing yet. A peer id or inside address in use is a bug."""

    def remove_peer(self, peer_id: int) -> Traffic:
        """Forget a client and its keys, and say what it moved. Its TCP stream stays open for control."""

    def install_key(self, peer_id: int, key: DataKey) -> None:
        """Accept packets under this key from now on; replaces a key with the same key id."""

    def activate_key(self, peer_id: int, key_id: int) -> None:
        """Send under this key from now on. The one before goes on to be accepted."""

    def drop_key(self, peer_id: int, key_id: int) -> None:
        """Accept packets under this key no longer; an id that is not there is ignored."""

    def set_access(self, peer_id: int, access: AccessTable) -> None:
        """Replace what a peer may reach, from the next packet on."""

    def send_control(self, path: Path, packets: Sequence[bytes]) -> None:
        """Send control packets, each in a datagram or frame of its own. A path that is gone is ignored."""

    def close_stream(self, path: Path) -> None:
        """Close a TCP connection after what was handed to `send_control` has been written, or 5 s."""

    def export_peer(self, peer_id: int) -> PeerState:
        """Take a client out, as `remove_peer` does, with all that another plane needs to go on with it.

        When this returns, nothing more is sent or accepted under its keys here: no nonce is used twice, and no packet
        accepted twice, if only one plane imports it.
        """

    def import_peer(self, state: PeerState) -> None:
        """Let in a client that another plane has exported. A TCP stream that is not this plane's own is gone for it.

        Of packet ids of which it is not known whether they were accepted, none is.
        """

    def facts(self) -> PlaneFacts:
        """What this plane is."""

    def traffic(self, peer_id: int) -> Traffic:
        """What a peer has moved so far."""

    def drops(self) -> Mapping[Drop, int]:
        """All dropped packets of this plane, by cause, those of no peer included."""
