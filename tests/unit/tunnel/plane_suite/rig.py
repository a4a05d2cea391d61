"""A plane between a stand-in for the TUN device and simulated clients on loopback sockets."""

from __future__ import annotations

import abc
import contextlib
import itertools
import os
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

import trio

from tunnel.data_channel import OpeningKey, SealingKey, opening_key, sealing_key
from tunnel.data_keys import Cipher, DataKey, split_key_block
from tunnel.plane import AccessTable, Drop, Path, Peer, Transport, Verdict
from tunnel.plane_settings import PlaneSettings
from tunnel.stream_framing import StreamFramer, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunnel.plane import DataPlane

NETWORK = IPv4Network("10.80.0.0/24")
GATEWAY = IPv4Address("10.80.0.1")
BOTH = frozenset(Transport)
DEADLINE_S = 10

ipv4 = IPv4Address


def access(*rules: tuple[str, Verdict]) -> AccessTable:
    """A table: each rule holds from its address up to that of the next; NO_ROUTE before the first."""
    starts = {IPv4Address(0).packed: Verdict.NO_ROUTE} | {ipv4(start).packed: verdict for start, verdict in rules}
    return AccessTable(starts=tuple(sorted(starts)), verdicts=bytes(starts[start] for start in sorted(starts)))


EVERYTHING = access(("0.0.0.0", Verdict.FORWARD), ("10.80.0.0", Verdict.LOCAL), ("10.80.1.0", Verdict.FORWARD))


def inner(source: str, destination: str, payload: bytes = b"", *, protocol: int = 17) -> bytes:
    """An IPv4 packet; its header checksum is not looked at on this way."""
    head = bytearray(20)
    head[0], head[8], head[9] = 0x45, 64, protocol
    head[2:4] = (20 + len(payload)).to_bytes(2, "big")
    head[12:16], head[16:20] = ipv4(source).packed, ipv4(destination).packed
    return bytes(head) + payload


def syn(source: str, destination: str, mss: int) -> bytes:
    segment = bytearray(24)
    segment[12], segment[13] = 0x60, 0x02
    segment[20:24] = b"\x02\x04" + mss.to_bytes(2, "big")
    return inner(source, destination, bytes(segment), protocol=6)


def mss_of(packet: bytes) -> int:
    return int.from_bytes(packet[42:44], "big")


@dataclass
class Events:
    """Records what the plane hands up."""

    seen: list[tuple[Any, ...]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    _news: trio.Event = field(default_factory=trio.Event)

    def _add(self, *event: Any) -> None:
        self.seen.append(event)
        self._news.set()
        self._news = trio.Event()

    def control_received(self, path: Path, packet: bytes) -> None:
        self._add("control", path, packet)

    def peer_floated(self, peer_id: int, path: Path) -> None:
        self._add("floated", peer_id, path)

    def peer_idle(self, peer_id: int) -> None:
        self._add("idle", peer_id)

    def peer_exited(self, peer_id: int) -> None:
        self._add("exited", peer_id)

    def key_worn(self, peer_id: int) -> None:
        self._add("worn", peer_id)

    def stream_opened(self, path: Path) -> None:
        self._add("opened", path)

    def stream_closed(self, path: Path) -> None:
        self._add("closed", path)

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.seen if event[0] == kind]

    async def wait(self, kind: str, count: int = 1) -> tuple[Any, ...]:
        """The count-th event of a kind, waited for."""
        with trio.fail_after(DEADLINE_S):
            while len(self.of(kind)) < count:
                await self._news.wait()
        return self.of(kind)[count - 1]


class Client(abc.ABC):
    """The client's side of one peer: its keys, and packets to and from the plane."""

    def __init__(self, peer_id: int, inside: str) -> None:
        self.peer_id = peer_id
        self.inside = inside
        self.data_v2 = True
        self.sealing: dict[int, SealingKey] = {}
        self.opening: dict[int, OpeningKey] = {}
        self.key_id = 0

    def make_key(self, key_id: int, cipher: Cipher) -> DataKey:
        """A fresh key: this client keeps its side of it, and returns the gateway's."""
        block = os.urandom(256)
        send, receive = split_key_block(block, server=False)
        own = DataKey(key_id=key_id, cipher=cipher, send=send, receive=receive)
        self.sealing[key_id] = sealing_key(own, peer_id=self.peer_id if self.data_v2 else None)
        self.opening[key_id] = opening_key(own)
        self.key_id = key_id
        send, receive = split_key_block(block, server=True)
        return DataKey(key_id=key_id, cipher=cipher, send=send, receive=receive)

    def seal(self, payload: bytes) -> bytes:
        return self.sealing[self.key_id].seal(payload)

    def open(self, packet: bytes) -> bytes:
        return self.opening[packet[0] & 7].open_untrusted(packet)

    def packet(self, destination: str, payload: bytes = b"") -> bytes:
        """A sealed packet from this client's own address."""
        return self.seal(inner(self.inside, destination, payload))

    @abc.abstractmethod
    async def send(self, *packets: bytes) -> None:
        """Send packets to the plane, by whatever carries them."""

    @abc.abstractmethod
    async def receive_packet(self) -> bytes:
        """The next sealed packet from the plane."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give up what carries the packets."""

    async def receive(self) -> bytes:
        """The next payload from the plane."""
        return self.open(await self.receive_packet())


class UdpClient(Client):
    """Over UDP, from a port of its own."""

    sock: trio.socket.SocketType

    async def connect(self, address: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = trio.socket.socket(family, socket.SOCK_DGRAM)
        await self.sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self.address = address

    async def send(self, *packets: bytes) -> None:
        for packet in packets:
            await self.sock.sendto(packet, self.address)

    async def receive_packet(self) -> bytes:
        with trio.fail_after(DEADLINE_S):
            packet, _ = await self.sock.recvfrom(65535)
        return packet

    def close(self) -> None:
        self.sock.close()

    def path(self, local: str) -> Path:
        return Path(Transport.UDP, remote=self.sock.getsockname()[:2], local=local)


class TcpClient(Client):
    """Over one TCP connection."""

    stream: trio.SocketStream

    async def connect(self, address: tuple[str, int]) -> None:
        self.stream = await trio.open_tcp_stream(*address)
        self._framer = StreamFramer()
        self._packets: list[bytes] = []

    def another_on_its_stream(self, peer_id: int) -> TcpClient:
        """The same connection, as somebody else."""
        other = TcpClient(peer_id, f"10.80.0.{peer_id}")
        other.stream, other._framer, other._packets = self.stream, self._framer, self._packets
        return other

    async def send(self, *packets: bytes) -> None:
        await self.stream.send_all(b"".join(map(frame, packets)))

    async def receive_packet(self) -> bytes:
        with trio.fail_after(DEADLINE_S):
            while not self._packets:
                data = await self.stream.receive_some(65536)
                if not data:
                    raise EOFError
                self._packets += self._framer.feed_untrusted(data)
        return self._packets.pop(0)

    def close(self) -> None:
        self.stream.socket.close()

    @property
    def remote(self) -> tuple[str, int]:
        name: tuple[str, int] = self.stream.socket.getsockname()[:2]
        return name


class Rig:
    """A running plane, the far side of its device, and its clients."""

    def __init__(self, plane: DataPlane, port: int, tun: socket.socket) -> None:
        self.plane = plane
        self.port = port
        self.events = Events()
        self._tun = trio.socket.from_stdlib_socket(tun)
        self._numbers = itertools.count(7)
        self._clients: list[Client] = []
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the plane until `stop`."""
        with self._scope:
            await self.plane.run(self.events, task_status=task_status)
        self._stopped.set()

    async def stop(self) -> None:
        """Stop the plane, and wait until it has."""
        self._scope.cancel()
        with trio.fail_after(DEADLINE_S):
            await self._stopped.wait()

    def close(self) -> None:
        """Close the far side of the device, and the clients."""
        self._tun.close()
        for client in self._clients:
            client.close()

    async def udp_stranger(self, address: str = "127.0.0.1") -> UdpClient:
        """A client that nobody let in."""
        number = next(self._numbers)
        client = UdpClient(number, f"10.80.0.{number}")
        await client.connect((address, self.port))
        self._clients.append(client)
        return client

    async def tcp_stranger(self) -> tuple[TcpClient, Path]:
        """The same over a stream, once the plane has noticed it."""
        number, opened = next(self._numbers), len(self.events.of("opened"))
        client = TcpClient(number, f"10.80.0.{number}")
        await client.connect(("127.0.0.1", self.port))
        self._clients.append(client)
        (path,) = await self.events.wait("opened", opened + 1)
        assert isinstance(path, Path)
        return client, path

    async def udp_client(
        self, *, address: str = "127.0.0.1", cipher: Cipher = Cipher.AES_256_GCM, **about: Any
    ) -> UdpClient:
        """A client that is let in, with its first key in force."""
        client = await self.udp_stranger(address)
        self.admit(client, client.path(address), cipher, **about)
        return client

    async def tcp_client(self, *, cipher: Cipher = Cipher.AES_256_GCM, **about: Any) -> TcpClient:
        """The same over a stream."""
        client, path = await self.tcp_stranger()
        self.admit(client, path, cipher, **about)
        return client

    def admit(self, client: Client, path: Path, cipher: Cipher = Cipher.AES_256_GCM, **about: Any) -> None:
        client.data_v2 = about.get("data_v2", True)
        defaults: dict[str, Any] = {"access": EVERYTHING, "ping_interval_s": 60, "idle_timeout_s": 240}
        self.plane.add_peer(
            Peer(peer_id=client.peer_id, path=path, inside=ipv4(client.inside).packed, **(defaults | about))
        )
        self.new_key(client, 0, cipher)

    def new_key(self, client: Client, key_id: int, cipher: Cipher = Cipher.AES_256_GCM) -> None:
        """Install a fresh key on both sides and send under it."""
        self.plane.install_key(client.peer_id, client.make_key(key_id, cipher))
        self.plane.activate_key(client.peer_id, key_id)

    async def from_tun(self) -> bytes:
        """The next packet that the plane writes to its device."""
        with trio.fail_after(DEADLINE_S):
            return await self._tun.recv(65535)

    async def to_tun(self, *packets: bytes) -> None:
        """Packets that the host routes into the tunnel."""
        for packet in packets:
            await self._tun.send(packet)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that shows only in the plane's answers."""
        with trio.fail_after(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - a plane has no event for its counters
                await trio.sleep(0.01)

    async def expect_traffic(self, client: Client, **expected: object) -> None:
        """The counters of a client become these; a plane's threads count when they have done what they count."""

        def counted() -> dict[str, object]:
            traffic = self.plane.traffic(client.peer_id)
            return {name: getattr(traffic, name) for name in expected}

        with contextlib.suppress(trio.TooSlowError):
            await self.until(lambda: counted() == expected)
        assert counted() == expected

    async def expect_drops(self, client: Client, packets: Iterable[bytes], **causes: int) -> None:
        """Send packets and see exactly these dropped, and a good packet behind them pass."""
        before = dict(self.plane.drops())

        def counted() -> dict[str, int]:
            after = self.plane.drops()
            return {cause.name: after[cause] - before[cause] for cause in Drop if after[cause] != before[cause]}

        await client.send(*packets)
        await self.expect_passage(client)
        # Another thread may still be at the packets before.
        with contextlib.suppress(trio.TooSlowError):
            await self.until(lambda: counted() == causes)
        assert counted() == causes

    async def expect_passage(self, client: Client, destination: str = "192.0.2.1") -> None:
        """A packet of this client passes, and nothing came before it."""
        marker = inner(client.inside, destination, os.urandom(12))
        await client.send(client.seal(marker))
        assert await self.from_tun() == marker


def peer(peer_id: int, inside: str) -> Peer:
    path = Path(Transport.UDP, ("127.0.0.1", 1000 + peer_id), "127.0.0.1")
    return Peer(peer_id, path, IPv4Address(inside).packed, EVERYTHING, 10, 60)


def settings(**overrides: Any) -> PlaneSettings:
    """Loopback, a port that the kernel chooses, both transports."""
    values: dict[str, Any] = {
        "listen": IPv4Address("127.0.0.1"),
        "port": 0,
        "transports": BOTH,
        "network": NETWORK,
        "gateway": GATEWAY,
    }
    return PlaneSettings(**(values | overrides))


def socket_device() -> tuple[socket.socket, socket.socket]:
    """Both ends of a stand-in for a TUN device: like it, one packet per read and write."""
    plane_end, far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (plane_end, far_end):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        end.setblocking(False)
    return plane_end, far_end
