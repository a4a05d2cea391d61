"""One client at full load in both directions, while everything that may change does.

It floats, it renews its keys, and its flows are begun by the host and answered later, whereupon the kernel, left to
itself, would give them to another queue of the device while the one before is still full. The device is the kernel's
own, in a namespace that is the test's alone: so are its counters.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.unit.tunnel.namespaced import in_new_namespace
from tests.unit.tunnel.plane_suite.conftest import PLANES
from tests.unit.tunnel.plane_suite.rig import DEADLINE_S, UdpClient, inner
from tests.unit.tunnel.plane_suite.test_real_tun import run_scenario, with_header_checksum
from tunnel.data_keys import Cipher
from tunnel.errors import BadPacket
from tunnel.plane import Drop
from tunnel.udp_offload import SOL_UDP, UDP_SEGMENT, enlarge_buffers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.unit.tunnel.plane_suite.conftest import OpenPlane
    from tunnel.data_channel import OpeningKey

HOST = "10.80.0.1"
ROUNDS, TURNS, FLOWS, RUN = 40, 8, 40, 12
"""So many rounds, each with flows of its own and so many turns, in which every flow has a run of packets each way."""
UNANSWERED_TURNS = 2
TURNS_AT_ONCE = 4
"""Then everything that has arrived is taken: until then it fills the queues."""
MOVE_PAUSE_S = 0.5
"""A client that moves three times in a second is not believed."""
SIZE = 300
FIRST_PORT = 20_000
KEY_IDS = 8
NATIVE_PLANES = PLANES[1:]
"""So much load would drown the Python plane, whose device's own queue then loses more than can be told apart."""
CIPHERS = (Cipher.AES_256_GCM, Cipher.CHACHA20_POLY1305, Cipher.AES_128_GCM)


def run_of(sender: socket.socket, packets: list[bytes], to: tuple[str, int]) -> None:
    """Send packets of one length in one system call, as whoever has much to send does."""
    sender.sendmsg(packets, [(SOL_UDP, UDP_SEGMENT, len(packets[0]).to_bytes(2, sys.byteorder))], 0, to)


def waiting_in(sock: socket.socket) -> Iterator[bytes]:
    """What has arrived."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield sock.recv(2048)


def datagram_socket(address: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((address, port))
    enlarge_buffers(sock)
    return sock


@dataclass
class Received:
    """What one side got: for each packet when it was sealed, or arrived, and the number that it has in its flow."""

    flows: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    count: int = 0

    def add(self, when: int, payload: bytes) -> None:
        port, number = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:6], "big")
        self.flows.setdefault(port, []).append((when, number))
        self.count += 1

    def assert_in_order(self) -> None:
        """No flow has a packet twice, or one that overtook another."""
        for port, arrivals in self.flows.items():
            numbers = [number for _, number in sorted(arrivals)]
            assert all(one < other for one, other in itertools.pairwise(numbers)), (port, numbers)


class RovingClient:
    """A client that goes from address to address, with many keys; it listens wherever it was."""

    def __init__(self, plane: OpenPlane, client: UdpClient) -> None:
        self._plane, self._client = plane, client
        self._socks = [socket.socket(fileno=os.dup(client.sock.fileno()))]
        enlarge_buffers(self._socks[0])
        self._keys = [client.opening[0]]
        self._next_move = 0.0
        self.received = Received()
        self.sent = 0
        self._unreadable = 0

    def close(self) -> None:
        for sock in self._socks:
            sock.close()

    @property
    def addresses(self) -> int:
        """Where it has been."""
        return len(self._socks)

    def assert_all_was_readable(self) -> None:
        assert self._unreadable == 0

    def move(self) -> None:
        """Go to another address, if it is time."""
        if trio.current_time() >= self._next_move:
            self._socks.append(datagram_socket("127.0.0.1"))
            self._next_move = trio.current_time() + MOVE_PAUSE_S

    def renew_key(self) -> None:
        key_id = len(self._keys) % KEY_IDS
        self._plane.install_key(7, self._client.make_key(key_id, CIPHERS[len(self._keys) % len(CIPHERS)]))
        self._plane.activate_key(7, key_id)
        self._keys.append(self._client.opening[key_id])

    def send(self, port: int, numbers: range) -> None:
        run_of(
            self._socks[-1], [self._client.seal(self._packet(port, number)) for number in numbers], self._client.address
        )
        self.sent += len(numbers)

    def _packet(self, port: int, number: int) -> bytes:
        payload = port.to_bytes(2, "big") + number.to_bytes(4, "big") + bytes(SIZE)
        datagram = port.to_bytes(2, "big") * 2 + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload
        return with_header_checksum(inner(self._client.inside, HOST, datagram))

    def receive(self) -> None:
        for packet in itertools.chain.from_iterable(map(waiting_in, self._socks)):
            self._open(packet)

    def _open(self, packet: bytes) -> None:
        """Under the newest key of that id that it may have been sealed with; and after that, none will do."""
        for place in range(len(self._keys) - 1, -1, -1):
            if self._keys[place].key_id == packet[0] & 7 and (payload := opened(self._keys[place], packet)):
                packet_id = int.from_bytes(packet[4:8], "big")
                self.received.add(place << 32 | packet_id, payload[28:])
                return
        self._unreadable += 1


def opened(key: OpeningKey, packet: bytes) -> bytes | None:
    try:
        return key.open_untrusted(packet)
    except BadPacket:
        return None


class Host:
    """The other end of the flows, behind the device."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._socks: dict[int, socket.socket] = {}
        self.received = Received()
        self.sent = 0

    def open(self, ports: Sequence[int]) -> None:
        """Begin flows."""
        self._socks |= {port: datagram_socket(HOST, port) for port in ports}

    def close(self) -> None:
        for sock in self._socks.values():
            sock.close()

    def send(self, port: int, numbers: range) -> None:
        payloads = [port.to_bytes(2, "big") + number.to_bytes(4, "big") + bytes(SIZE) for number in numbers]
        with contextlib.suppress(BlockingIOError):
            run_of(self._socks[port], payloads, (self._client, port))
            self.sent += len(numbers)

    def receive(self) -> None:
        for payload in itertools.chain.from_iterable(map(waiting_in, self._socks.values())):
            self.received.add(self.received.count, payload)


def refused_by_device(plane: OpenPlane) -> int:
    """Packets for which its queues had no room. Where it takes runs, they are refused as such."""
    lines = (line.split() for line in Path("/proc/thread-self/net/dev").read_text().splitlines())
    counters = next(line for line in lines if line[0] == f"{plane.device.name}:")
    return int(counters[12]) * (RUN if plane.facts().tun_uso else 1)


def refused_on_the_host() -> int:
    """Datagrams for which a socket had no room, and runs for which there was none before the device."""
    lines = [line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()]
    names, values = (line for line in lines if line[0] == "Udp:")
    counters = dict(zip(names, values, strict=True))
    return int(counters["RcvbufErrors"]) + int(counters["SndbufErrors"]) * RUN


def lost_on_the_way(plane: OpenPlane) -> int:
    """Packets that somebody has counted as dropped."""
    drops = sum(count for cause, count in plane.drops().items() if cause is not Drop.NOT_IPV4)  # the kernel's own
    return drops + refused_by_device(plane) + refused_on_the_host()


def talk(roving: RovingClient, host: Host, ports: Sequence[int], turn: int) -> None:
    """A turn of all flows of a round. What the host sends first finds its own queue; the answers would move it."""
    numbers = range(turn * RUN, (turn + 1) * RUN)
    for port in ports:
        host.send(port, numbers)
        if turn >= UNANSWERED_TURNS:
            roving.send(port, numbers)
    if turn % TURNS_AT_ONCE == 1:
        roving.renew_key()


async def scenario(plane: OpenPlane, client: UdpClient) -> None:
    with contextlib.closing(RovingClient(plane, client)) as roving, contextlib.closing(Host(client.inside)) as host:

        async def receive() -> None:
            await trio.sleep(0.001)
            roving.receive()
            host.receive()

        def missing() -> int:
            return roving.sent + host.sent - roving.received.count - host.received.count

        for number in range(ROUNDS):
            ports = range(FIRST_PORT + number * FLOWS, FIRST_PORT + (number + 1) * FLOWS)
            host.open(ports)
            roving.move()
            for turn in range(TURNS):
                talk(roving, host, ports, turn)
                if turn % TURNS_AT_ONCE == TURNS_AT_ONCE - 1:
                    await receive()
        with trio.fail_after(DEADLINE_S):
            while missing() != lost_on_the_way(plane):
                await receive()
        roving.assert_all_was_readable()
        for received, sent in ((roving.received, host.sent), (host.received, roving.sent)):
            received.assert_in_order()
            assert received.count > sent / 2
        assert roving.addresses > 2


@pytest.mark.parametrize("kind", NATIVE_PLANES)
@in_new_namespace
def test_a_client_that_floats_and_renews_its_keys_under_load_loses_and_repeats_and_reorders_nothing(
    kind: tuple[str, int],
) -> None:
    trio.run(run_scenario, kind, scenario)
