"""Connecting many clients from one process: `tunnel.client` over a UDP socket for each.

Owns the handshakes. What the clients do once they are connected is somebody else's.
"""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from cryptography.hazmat.bindings.openssl.binding import Binding

from tunnel.client import ClientConfig, ClientConnection
from tunnel.control_wrap import TlsCryptWrap
from tunnel.events import Closed, Established, KeyDerived
from tunnel.static_key import parse_static_key
from tunnel.tls import TlsClientContext

if TYPE_CHECKING:
    from pathlib import Path

    from tunnel.data_keys import DataKey

__all__ = ["Connected", "Crowd", "Profile", "connect"]

RECEIVE_SIZE = 4096
STOCK_GROUPS = b"X25519:P-256:X448:P-521:P-384"
"""What a stock client with OpenSSL 3.0 offers to exchange keys by. Ours would offer ML-KEM as well: of the servers that
are compared only one could take it, and would be the only one to compute it and to send a kilobyte more."""
TICK_S = 0.1
"""How often timers are looked at: they are there for the rare packet that meets a full buffer."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a client needs to connect: where to, and files in one directory."""

    server: tuple[str, int]
    material: Path
    cipher: str

    def config(self) -> ClientConfig:
        """The same for all clients, so that certificates are read once."""
        read = {name: (self.material / name).read_bytes() for name in ("ca.crt", "bench.crt", "bench.key")}
        key = parse_static_key((self.material / "tls-crypt.key").read_text())
        return ClientConfig(
            tls=_stock_context(read["ca.crt"], read["bench.crt"], read["bench.key"]),
            wrap_key=TlsCryptWrap(key, server=False),
            base_key=key,
            ciphers=(self.cipher,),
        )


def _stock_context(ca: bytes, certificate: bytes, key: bytes) -> TlsClientContext:
    tls = TlsClientContext(server_ca=ca, certificate_chain=certificate, private_key=key)
    # pyOpenSSL has a call for the curves of ECDH before TLS 1.3 alone.
    if Binding.lib.SSL_CTX_set1_curves_list(tls._context._context, STOCK_GROUPS) != 1:
        raise ValueError(f"OpenSSL does not know all of {STOCK_GROUPS.decode()}")
    return tls


@dataclass(frozen=True, slots=True)
class Connected:
    """A client with a key."""

    sock: socket.socket
    inside: IPv4Address
    peer_id: int
    key: DataKey


@dataclass(slots=True)
class Crowd:
    """Who has connected, who has not, and how long it took."""

    connected: list[Connected] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    """Of each client, from its first packet to being connected."""
    seconds: float = 0
    """Of all together."""

    def note(self, handshake: _Handshake) -> None:
        """Count a handshake that is over."""
        if handshake.connected is not None:
            self.connected.append(handshake.connected)
            self.took_s.append(time.monotonic() - handshake.begun)
        else:
            self.failures.append(handshake.failure)
            handshake.sock.close()


class _Handshake:
    """One client on its way."""

    def __init__(self, server: tuple[str, int], config: ClientConfig) -> None:
        self.begun = time.monotonic()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect(server)
        self._connection = ClientConnection(config, reliable_transport=False, now=self.begun, unix_time=time.time)
        self._key: DataKey | None = None
        self.connected: Connected | None = None
        self.failure = ""
        self._go_on()

    @property
    def is_over(self) -> bool:
        return self.connected is not None or bool(self.failure)

    def handle_timer(self) -> None:
        """Send again what got lost; to be called every `TICK_S`."""
        self._connection.handle_timer(time.monotonic())
        self._go_on()

    def receive(self) -> None:
        """Take what has arrived."""
        while not self.is_over:
            try:
                packet = self.sock.recv(RECEIVE_SIZE)
            except BlockingIOError:
                break
            except OSError as error:
                self.failure = str(error)
                break
            self._connection.receive_packet(packet, time.monotonic())
            self._go_on()

    def _go_on(self) -> None:
        while (event := self._connection.next_event()) is not None:
            match event:
                case KeyDerived(key):
                    self._key = key
                case Closed(_, text):
                    self.failure = text
                case Established():
                    self.connected = self._finish()
        for packet in self._connection.packets_to_send(time.monotonic()):
            self.sock.send(packet)

    def _finish(self) -> Connected | None:
        options = dict(option.partition(" ")[::2] for option in self._connection.options)
        peer_id, address = self._connection.peer_id, options.get("ifconfig", "").partition(" ")[0]
        if self._key is None or peer_id is None or not address:
            self.failure = f"The server pushed {self._connection.options}."
            return None
        return Connected(self.sock, IPv4Address(address), peer_id, self._key)


def connect(profile: Profile, count: int, *, parallel: int = 16, rate: float | None = None) -> Crowd:
    """Connect `count` clients, at most `parallel` at a time, `rate` of them a second where that is given."""
    config = profile.config()
    crowd = Crowd()
    begun = swept = time.monotonic()
    started = 0
    under_way: dict[socket.socket, _Handshake] = {}
    with selectors.DefaultSelector() as selector:
        while started < count or under_way:
            while started < count and len(under_way) < parallel and _is_due(started, rate, begun):
                handshake = _Handshake(profile.server, config)
                under_way[handshake.sock] = handshake
                selector.register(handshake.sock, selectors.EVENT_READ, handshake)
                started += 1
            touched = [ready.data for ready, _ in selector.select(TICK_S if rate is None else TICK_S / 10)]
            for handshake in touched:
                handshake.receive()
            if time.monotonic() >= swept + TICK_S:
                swept = time.monotonic()
                touched = list(under_way.values())
                for handshake in touched:
                    handshake.handle_timer()
            for handshake in touched:
                if handshake.is_over:
                    selector.unregister(handshake.sock)
                    del under_way[handshake.sock]
                    crowd.note(handshake)
    crowd.seconds = time.monotonic() - begun
    return crowd


def _is_due(number: int, rate: float | None, begun: float) -> bool:
    return rate is None or time.monotonic() >= begun + number / rate
