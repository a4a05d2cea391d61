"""A client and a server joined in memory by a path that may lose, repeat and reorder, under a clock that only
moves when told. The server's end decides as a gateway would: it lets everyone in, unless a test says otherwise.
"""

from __future__ import annotations

import functools
import heapq
import random
import tempfile
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.lab.authority import LabAuthority
from tunnel.client import ClientConfig, ClientConnection
from tunnel.connection import ServerConfig, ServerConnection
from tunnel.data_keys import Cipher
from tunnel.events import AuthenticationRequested, Event, KeyActivated, KeyDerived
from tunnel.front_door import Admission, FrontDoor, FrontDoorKeys, Ignored, Reply
from tunnel.push import PushSettings
from tunnel.tls import TlsClientContext, TlsServerContext

REMOTE = ("192.0.2.7", 40000)
UNIX_TIME = 1_700_000_000.0
STEPS = 5000

PUSH = PushSettings(
    peer_id=5,
    address=IPv4Address("10.80.0.2"),
    network=IPv4Network("10.80.0.0/22"),
    gateway=IPv4Address("10.80.0.1"),
    routes=(IPv4Network("10.20.0.0/24"),),
)


@dataclass(frozen=True)
class Credentials:
    ca: bytes
    server_certificate: bytes
    server_key: bytes
    client_certificate: bytes
    client_key: bytes


@functools.cache
def credentials() -> Credentials:
    """A CA, a server and a client, made once for all tests."""
    with tempfile.TemporaryDirectory() as directory:
        authority = LabAuthority(Path(directory))
        server, client = authority.server(), authority.client("ana", groups=("engineering",))
        files = (authority.certificate, server.certificate, server.key, client.certificate, client.key)
        return Credentials(*(file.read_bytes() for file in files))


@functools.cache
def server_tls() -> TlsServerContext:
    found = credentials()
    return TlsServerContext(
        certificate_chain=found.server_certificate, private_key=found.server_key, client_ca=found.ca
    )


@functools.cache
def client_tls(maximum_version: str = "1.3") -> TlsClientContext:
    found = credentials()
    return TlsClientContext(
        server_ca=found.ca,
        certificate_chain=found.client_certificate,
        private_key=found.client_key,
        maximum_version=maximum_version,
    )


def server_config(**changes: object) -> ServerConfig:
    defaults: dict[str, object] = {
        "tls": server_tls(),
        "data_ciphers": (Cipher.AES_256_GCM, Cipher.AES_128_GCM, Cipher.CHACHA20_POLY1305),
        "renegotiate_after_s": 0,
    }
    return ServerConfig(**(defaults | changes))  # type: ignore[arg-type]  # the dataclass checks nothing, the tests do


@dataclass
class Weather:
    """What the path does to packets."""

    loss: float = 0.0
    duplication: float = 0.0
    jitter_s: float = 0.0
    delay_s: float = 0.01


@dataclass
class Link:
    """One client, one server, and what each was told."""

    client_config: ClientConfig
    config: ServerConfig = field(default_factory=server_config)
    door_keys: FrontDoorKeys = field(default_factory=lambda: FrontDoorKeys(plain=True))
    weather: Weather = field(default_factory=Weather)
    reliable: bool = False
    seed: int = 1
    authorizes: bool = True

    def __post_init__(self) -> None:
        self.now = 100.0
        self.random = random.Random(self.seed)
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []
        self.server: ServerConnection | None = None
        self.door = FrontDoor(self.door_keys)
        self._flights: list[tuple[float, int, bool, bytes]] = []
        self._serial = 0
        self.client = ClientConnection(
            self.client_config, reliable_transport=self.reliable, now=self.now, unix_time=self.unix_time
        )

    def unix_time(self) -> float:
        return UNIX_TIME + self.now

    def run(self, seconds: float) -> None:
        """Let the world go on."""
        end = self.now + seconds
        for _ in range(STEPS):
            self._pump()
            moments = [self._flights[0][0]] if self._flights else []
            moments += [timer for timer in (self.client.get_timer(), self._server_timer()) if timer is not None]
            if not moments or min(moments) > end:
                self.now = end
                return
            self.now = max(self.now, min(moments))
            self._step()
        raise AssertionError(f"{STEPS} steps without an end")

    def derived(self, events: list[Event]) -> list[KeyDerived]:
        return [event for event in events if isinstance(event, KeyDerived)]

    def activated(self, events: list[Event]) -> list[int]:
        return [event.key_id for event in events if isinstance(event, KeyActivated)]

    def assert_same_keys(self, count: int) -> None:
        """Both sides have derived `count` keys, and what one sends with the other receives with."""
        ours, theirs = self.derived(self.server_events), self.derived(self.client_events)
        assert len(ours) == len(theirs) == count
        for mine, yours in zip(ours, theirs, strict=True):
            assert (mine.key.key_id, mine.key.cipher) == (yours.key.key_id, yours.key.cipher)
            assert (mine.key.send, mine.key.receive) == (yours.key.receive, yours.key.send)
        assert len({event.key.send.cipher for event in ours}) == count

    def _server_timer(self) -> float | None:
        return self.server.get_timer() if self.server is not None else None

    def _step(self) -> None:
        while self._flights and self._flights[0][0] <= self.now:
            _, _, to_server, packet = heapq.heappop(self._flights)
            if to_server:
                self._arrive_at_server(packet)
            else:
                self.client.receive_packet(packet, self.now)
            self._pump()
        self.client.handle_timer(self.now)
        if self.server is not None:
            self.server.handle_timer(self.now)

    def _arrive_at_server(self, packet: bytes) -> None:
        if self.server is not None:
            self.server.receive_packet(packet, self.now)
            return
        answer = self._ask_front_door(packet)
        if isinstance(answer, Reply):
            self._send(answer.packet, to_server=False)
        elif isinstance(answer, Admission):
            self.server = ServerConnection(
                self.config, answer, reliable_transport=self.reliable, now=self.now, unix_time=self.unix_time
            )

    def _ask_front_door(self, packet: bytes) -> Ignored | Reply | Admission:
        if self.reliable:
            return self.door.receive_stream_untrusted(packet, self.unix_time())
        return self.door.receive_datagram_untrusted(packet, REMOTE, self.now, self.unix_time())

    def _pump(self) -> None:
        """Drain events and packets of both sides."""
        while (event := self.client.next_event()) is not None:
            self.client_events.append(event)
        for packet in self.client.packets_to_send(self.now):
            self._send(packet, to_server=True)
        if self.server is None:
            return
        while (event := self.server.next_event()) is not None:
            self.server_events.append(event)
            if isinstance(event, AuthenticationRequested) and self.authorizes:
                self.server.authorize(None if event.renegotiation else PUSH, self.now)
        for packet in self.server.packets_to_send(self.now):
            self._send(packet, to_server=False)

    def _send(self, packet: bytes, *, to_server: bool) -> None:
        copies = 1 + (self.random.random() < self.weather.duplication)
        for _ in range(copies):
            if self.random.random() >= self.weather.loss:
                arrival = self.now + self.weather.delay_s + self.random.random() * self.weather.jitter_s
                self._serial += 1
                heapq.heappush(self._flights, (arrival, self._serial, to_server, packet))
