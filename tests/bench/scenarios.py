"""What is measured: scenarios, as values. Knows neither how nor with which server.

Sizes are those of IPv4 packets inside the tunnel, in octets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "IMIX",
    "SCENARIOS",
    "Connects",
    "Crowd",
    "Flooded",
    "Latency",
    "Packets",
    "Peer",
    "Reads",
    "RuleChanges",
    "Scenario",
    "Setting",
    "Streams",
    "UnknownScenarioError",
    "Work",
    "select",
]

IMIX = (40, 40, 576, 40, 40, 576, 40, 40, 576, 40, 576, 1400)
"""Seven small, four medium and one large packet, mixed; the large one fits into a datagram without fragments."""


class Peer(Enum):
    """Who is the client."""

    STOCK = "stock"
    """OpenVPN's own, one datagram per system call."""
    LOAD = "load"
    """Ours, with UDP_SEGMENT, UDP_GRO and a TUN device that takes whole segments."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the servers are asked to do."""

    cipher: str = "AES-256-GCM"
    transport: str = "udp"
    udp_offload: bool = True
    """Whether gateway and load client may send many datagrams per call, which a real network card may refuse."""
    tun_offload: bool = True
    """Whether the gateway's TUN device may carry many segments at once."""


@dataclass(frozen=True, slots=True)
class Streams:
    """iperf3 through the tunnel, up and then down."""

    peer: Peer = Peer.STOCK
    clients: int = 1
    streams: int = 1
    """For each client."""
    datagrams: int = 0
    """UDP packets of this size, instead of TCP."""
    offered_mbit_per_s: int = 0
    """UDP only, where TCP finds the rate by itself."""


@dataclass(frozen=True, slots=True)
class Packets:
    """As many UDP packets as go through, up and then down."""

    sizes: tuple[int, ...]
    clients: int = 1


@dataclass(frozen=True, slots=True)
class Latency:
    """Round trips of a stock client, idle and while others connect."""

    pings: int = 1500
    interval_s: float = 0.005
    connects_per_s: int = 100


@dataclass(frozen=True, slots=True)
class Connects:
    """Clients connecting as fast as they can, and staying: CPU and memory for each."""

    clients: int = 1000
    """So many that what a server does every second anyway hardly counts."""
    settle: int = 20
    """That come first, so that what is made once does not count."""


@dataclass(frozen=True, slots=True)
class Flooded:
    """Clients that connect in peace, and while another sends as many packets as it can."""

    sizes: tuple[int, ...] = (64,)
    connects_per_s: int = 20


@dataclass(frozen=True, slots=True)
class Crowd:
    """As many clients as this, connected and all of them pinging."""

    clients: int = 5000
    rounds: int = 10
    echoes_per_s: int = 10_000


@dataclass(frozen=True, slots=True)
class Reads:
    """One caller of the API who reads an endpoint, its rules and its connections, again and again. Moves no packets."""

    rules: int = 200
    connections: int = 1000
    reads: int = 200
    """Of each."""
    store: str = "sqlite"
    """Or `postgresql`."""


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """Clients of an endpoint that the API has made, and a rule that comes and goes by the API."""

    clients: int = 1000
    sample: int = 50
    """How many of them ping all the time, to see when the rule is in force."""
    changes: int = 20


Work = Streams | Packets | Latency | Connects | Flooded | Crowd | Reads | RuleChanges


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that is measured."""

    name: str
    about: str
    work: Work
    setting: Setting = field(default_factory=Setting)
    quick: bool = False
    """Whether `--quick` has it."""


class UnknownScenarioError(Exception):
    """A name that no scenario has."""


CHACHA = Setting(cipher="CHACHA20-POLY1305")
NO_UDP_OFFLOAD = Setting(udp_offload=False)
NO_OFFLOAD = Setting(udp_offload=False, tun_offload=False)
LOAD = Peer.LOAD

SCENARIOS = (
    Scenario("tcp", "stock client, one TCP stream", Streams(), quick=True),
    Scenario("tcp-8", "stock client, eight TCP streams", Streams(streams=8)),
    Scenario("tcp-20", "twenty stock clients, a TCP stream each", Streams(clients=20)),
    Scenario("tcp-chacha", "stock client, one TCP stream, ChaCha20-Poly1305", Streams(), CHACHA),
    Scenario("tcp-no-udp-offload", "stock client, one TCP stream, UDP offload off", Streams(), NO_UDP_OFFLOAD),
    Scenario("tcp-over-tcp", "stock client over TCP, one TCP stream", Streams(), Setting(transport="tcp")),
    Scenario(
        "udp", "stock client, 300 Mbit/s of 1400-octet UDP packets", Streams(datagrams=1400, offered_mbit_per_s=300)
    ),
    Scenario("load-tcp", "offload-capable client, one TCP stream", Streams(LOAD), quick=True),
    Scenario("load-tcp-8", "offload-capable client, eight TCP streams", Streams(LOAD, streams=8)),
    Scenario("load-tcp-20", "twenty offload-capable clients, a TCP stream each", Streams(LOAD, clients=20)),
    Scenario("load-tcp-chacha", "offload-capable client, one TCP stream, ChaCha20-Poly1305", Streams(LOAD), CHACHA),
    Scenario(
        "load-tcp-no-udp-offload", "the same client, UDP offload off on both sides", Streams(LOAD), NO_UDP_OFFLOAD
    ),
    Scenario("load-tcp-no-offload", "the same, and the gateway's TUN offload off", Streams(LOAD), NO_OFFLOAD),
    Scenario("packets-64", "64-octet packets", Packets((64,)), quick=True),
    Scenario("packets-512", "512-octet packets", Packets((512,))),
    Scenario("packets-1400", "1400-octet packets", Packets((1400,))),
    Scenario("packets-imix", "IMIX: seven packets of 40, four of 576, one of 1400 octets, mixed", Packets(IMIX)),
    Scenario("packets-64-20", "64-octet packets, twenty clients", Packets((64,), clients=20)),
    Scenario("packets-64-chacha", "64-octet packets, ChaCha20-Poly1305", Packets((64,)), CHACHA),
    Scenario(
        "packets-64-no-udp-offload", "64-octet packets, UDP offload off on both sides", Packets((64,)), NO_UDP_OFFLOAD
    ),
    Scenario(
        "latency",
        "round trips of a stock client, idle, and busy with 100 clients a second that connect",
        Latency(),
        quick=True,
    ),
    Scenario("connects", "clients that connect as fast as they can, 16 at a time, and stay", Connects(), quick=True),
    Scenario(
        "connects-flooded",
        "20 clients a second that connect, in peace and while another floods with 64-octet packets",
        Flooded(),
        quick=True,
    ),
    Scenario("crowd", "5,000 clients connected, all of them pinging", Crowd()),
    Scenario("api-read", "the API reads an endpoint with 200 rules and 1,000 connections, SQLite", Reads(), quick=True),
    Scenario("api-read-postgresql", "the same, PostgreSQL", Reads(store="postgresql")),
    Scenario(
        "rule-change", "a rule that comes and goes by the API, 1,000 clients connected", RuleChanges(), quick=True
    ),
)


def select(names: Iterable[str] = (), *, quick: bool = False) -> tuple[Scenario, ...]:
    """The scenarios of these names, in the order of `SCENARIOS`; all, or all quick ones, where none is named.

    Raises UnknownScenarioError.
    """
    wanted = set(names)
    if unknown := wanted - {scenario.name for scenario in SCENARIOS}:
        known = ", ".join(scenario.name for scenario in SCENARIOS)
        raise UnknownScenarioError(f"there is no scenario {', '.join(sorted(unknown))}; there are {known}")
    if wanted:
        return tuple(scenario for scenario in SCENARIOS if scenario.name in wanted)
    return tuple(scenario for scenario in SCENARIOS if scenario.quick or not quick)
