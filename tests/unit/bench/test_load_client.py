"""The load client's C part, with a gateway that is a socket on loopback and the keys of the other side."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import Counter
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from tests.bench.load.connector import Connected
from tests.bench.load.native import LoadError, NativeLoad, Traffic, compile_library
from tunnel.data_channel import OpeningKey, SealingKey, opening_key, sealing_key
from tunnel.data_keys import Cipher, DataKey, split_key_block

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSIDE = IPv4Address("10.80.0.2")
OFFICE = "10.20.0.10"
PORT = 9000
PEER_ID = 7
DEADLINE_S = 10
PING = bytes.fromhex("2a187bf3641eb4cb07ed2d0a981fc748")


def sums_up(octets: bytes) -> bool:
    """Whether octets that hold their own checksum hold the right one (RFC 1071)."""
    words = (int.from_bytes(octets[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(octets), 2))
    return sum(words) % 0xFFFF == 0


def udp_to(client: Connected, port: int) -> bytes:
    """A packet of 100 octets; nobody looks at its checksums."""
    header = b"\x45\0\0\x64" + bytes(4) + b"\x40\x11\0\0" + IPv4Address(OFFICE).packed + client.inside.packed
    return header + PORT.to_bytes(2, "big") + port.to_bytes(2, "big") + bytes(76)


class Gateway:
    """The other side of some clients."""

    def __init__(self, library: Path, clients: int, cipher: Cipher) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(DEADLINE_S)
        self.load = NativeLoad(library)
        self.clients: list[Connected] = []
        self.opening: dict[int, OpeningKey] = {}
        self.sealing: dict[int, SealingKey] = {}
        for number in range(clients):
            self._add(PEER_ID + number, cipher)

    def _add(self, peer_id: int, cipher: Cipher) -> None:
        block = os.urandom(256)
        ours, theirs = (DataKey(1, cipher, *split_key_block(block, server=server)) for server in (True, False))
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(self.sock.getsockname())
        sock.setblocking(False)
        client = Connected(sock, INSIDE + peer_id, peer_id, theirs)
        self.clients.append(client)
        self.load.add(client, self.sock.getsockname(), offload=True)
        self.opening[peer_id], self.sealing[peer_id] = opening_key(ours), sealing_key(ours, peer_id=peer_id)

    def receive(self) -> tuple[int, bytes]:
        """The next packet inside, and whose it is."""
        packet = self.sock.recv(65535)
        peer_id = int.from_bytes(packet[1:4], "big")
        return peer_id, self.opening[peer_id].open_untrusted(packet)

    def drain(self) -> list[tuple[int, bytes]]:
        self.sock.setblocking(False)
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.receive())
        return found

    def send(self, client: Connected, payload: bytes) -> None:
        self.sock.sendto(self.sealing[client.peer_id].seal(payload), client.sock.getsockname())

    def close(self) -> None:
        self.load.close()
        for client in self.clients:
            client.sock.close()
        self.sock.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("load") / "load_client.so")


@pytest.fixture(params=[Cipher.AES_256_GCM, Cipher.CHACHA20_POLY1305], ids=lambda cipher: cipher.value)
def gateway(library: Path, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    made = Gateway(library, 3, request.param)
    yield made
    made.close()


def traffic(*sizes: int, burst: int = 6, seconds: float = 0.0) -> Traffic:
    """A flood of no length: one round, or none."""
    return Traffic(sizes, PORT, seconds, OFFICE, burst)


def test_a_flood_is_of_sound_packets_in_their_sizes_in_turn(gateway: Gateway) -> None:
    sent = gateway.load.flood(traffic(40, 64, 1400, seconds=0.02))
    found = gateway.drain()
    assert sent.packets >= len(found) >= 18
    assert {peer_id for peer_id, _ in found} == {client.peer_id for client in gateway.clients}
    first = [packet for peer_id, packet in found if peer_id == PEER_ID][:6]
    assert [len(packet) for packet in first] == [40, 64, 1400, 40, 64, 1400]
    for peer_id, packet in found:
        assert sums_up(packet[:20])
        assert IPv4Address(packet[12:16]) == INSIDE + peer_id
        assert IPv4Address(packet[16:20]) == IPv4Address(OFFICE)
        pseudo_header = packet[12:20] + bytes([0, packet[9]]) + (len(packet) - 20).to_bytes(2, "big")
        assert packet[9] == socket.IPPROTO_UDP
        assert sums_up(pseudo_header + packet[20:])


@pytest.mark.parametrize("sizes", [(), (27,), (64, 1501)])
def test_a_size_that_no_packet_can_have_is_refused(gateway: Gateway, sizes: tuple[int, ...]) -> None:
    with pytest.raises(LoadError, match="Invalid argument"):
        gateway.load.flood(traffic(*sizes))


def test_only_authentic_packets_to_the_port_are_collected(gateway: Gateway) -> None:
    def answer() -> None:
        for _ in gateway.clients:
            gateway.receive()
        for client in gateway.clients:
            sound, elsewhere = udp_to(client, PORT), udp_to(client, PORT + 1)
            for payload in (sound, elsewhere, PING):
                gateway.send(client, payload)
            forged = bytearray(gateway.sealing[client.peer_id].seal(sound))
            forged[-1] ^= 1
            gateway.sock.sendto(forged, client.sock.getsockname())

    answering = threading.Thread(target=answer)
    answering.start()
    moved = gateway.load.collect(traffic(64))
    answering.join()
    assert (moved.packets, moved.octets) == (3, 300)


def test_every_echo_that_comes_back_is_counted_with_its_time(gateway: Gateway) -> None:
    lost = gateway.clients[1].peer_id
    sound: list[bool] = []

    def answer() -> None:
        by_id = {client.peer_id: client for client in gateway.clients}
        for _ in range(3 * 4):
            peer_id, echo = gateway.receive()
            sound.append(sums_up(echo[:20]) and sums_up(echo[20:]))
            reply = echo[:12] + echo[16:20] + echo[12:16] + b"\0" + echo[21:]
            if peer_id != lost:
                gateway.send(by_id[peer_id], reply)

    answering = threading.Thread(target=answer)
    answering.start()
    moved, round_trips_us = gateway.load.echo(OFFICE, rounds=4, rate=1000, patience_s=0.5)
    answering.join()
    assert sound == 3 * 4 * [True]
    assert moved.packets == len(round_trips_us) == 2 * 4
    assert all(0 < trip < DEADLINE_S * 1e6 for trip in round_trips_us)


def test_what_a_source_sends_a_sink_counts(library: Path) -> None:
    load = NativeLoad(library)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
    ):
        source.bind(("127.0.0.1", 0))
        sink.bind(("127.0.0.1", 0))
        about = Traffic((64, 64, 576), sink.getsockname()[1], 0.02, burst=12)
        sent = load.source(source, ["127.0.0.1"], about)
        arrived = load.sink(sink)
    assert 0 < arrived.packets <= sent.packets
    if arrived.packets == sent.packets:
        assert arrived.octets == sent.octets


def test_a_tunnel_carries_packets_both_ways_until_its_device_is_gone(gateway: Gateway) -> None:
    device, host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host.settimeout(DEADLINE_S)
    ended: list[str] = []

    def carry() -> None:
        with device:
            try:
                gateway.load.tunnel(device.fileno())
            except LoadError as error:
                ended.append(str(error))

    carrying = threading.Thread(target=carry)
    carrying.start()
    client = gateway.clients[0]
    up = b"\x45\0\0\x1c" + bytes(8) + client.inside.packed + IPv4Address(OFFICE).packed + b"upupupup"
    down = b"\x45\0\0\x1c" + bytes(8) + IPv4Address(OFFICE).packed + client.inside.packed + b"downdown"
    with host:
        host.send(up)
        assert gateway.receive() == (client.peer_id, up)
        gateway.send(client, PING)
        gateway.send(client, down)
        assert host.recv(2000) == down
        assert Counter(ended) == {}
    carrying.join(DEADLINE_S)
    assert ended == ["load_tunnel: No such device"]
