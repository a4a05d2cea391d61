"""The plane with the kernel's own TUN device: its host answers, routes and clamps for real."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest
import trio
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from tests.unit.tunnel.namespaced import in_new_namespace, ip
from tests.unit.tunnel.plane_suite.conftest import PLANES, plane_class
from tests.unit.tunnel.plane_suite.rig import DEADLINE_S, EVERYTHING, Events, UdpClient, inner, ipv4, settings
from tunnel.data_keys import Cipher
from tunnel.plane import Drop, Peer
from tunnel.udp_offload import SOL_UDP, UDP_SEGMENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from tests.unit.tunnel.plane_suite.conftest import OpenPlane

BY_EVERY_PLANE = pytest.mark.parametrize("kind", PLANES)


def echo_request(source: str, destination: str, data: bytes) -> bytes:
    message = b"\x08\x00\x00\x00\x00\x01\x00\x01" + data
    return with_header_checksum(inner(source, destination, message[:2] + checksum(message) + message[4:], protocol=1))


def with_header_checksum(packet: bytes) -> bytes:
    return packet[:10] + checksum(packet[:20]) + packet[12:]


def checksum(data: bytes) -> bytes:
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


async def run_scenario(
    kind: tuple[str, int], scenario: Callable[[OpenPlane, UdpClient], Awaitable[None]], **chosen: Any
) -> None:
    """A plane on a TUN device that is up, with one client."""
    name, workers = kind
    plane = plane_class(name).open(settings(workers=workers, **chosen))
    ip(f"address add 10.80.0.1/24 dev {plane.device.name}")
    ip(f"link set {plane.device.name} up")
    client = UdpClient(7, "10.80.0.7")
    await client.connect(("127.0.0.1", plane.port))
    with contextlib.closing(client):
        async with trio.open_nursery() as nursery:
            await nursery.start(plane.run, Events())
            plane.add_peer(Peer(7, client.path("127.0.0.1"), ipv4(client.inside).packed, EVERYTHING, 60, 240))
            plane.install_key(7, client.make_key(0, Cipher.AES_256_GCM))
            plane.activate_key(7, 0)
            await scenario(plane, client)
            nursery.cancel_scope.cancel()


async def counts(condition: Callable[[], bool]) -> None:
    with trio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - a plane has no event for its counters
            await trio.sleep(0.01)


@BY_EVERY_PLANE
@in_new_namespace
def test_the_host_answers_a_clients_ping(kind: tuple[str, int]) -> None:
    async def scenario(plane: OpenPlane, client: UdpClient) -> None:
        for number in range(100):
            data = number.to_bytes(4, "big") * 300
            await client.send(client.seal(echo_request(client.inside, "10.80.0.1", data)))
            answer = await client.receive()
            assert (answer[12:16], answer[16:20]) == (IPv4Address("10.80.0.1").packed, ipv4(client.inside).packed)
            assert (answer[20], answer[28:]) == (0, data)
        await counts(lambda: plane.traffic(7).ingress_packets == plane.traffic(7).egress_packets == 100)

    trio.run(run_scenario, kind, scenario)


@BY_EVERY_PLANE
@in_new_namespace
def test_a_device_that_is_down_costs_a_counter(kind: tuple[str, int]) -> None:
    async def scenario(plane: OpenPlane, client: UdpClient) -> None:
        ip(f"link set {plane.device.name} down")
        await client.send(client.packet("10.80.0.1"))
        await counts(lambda: plane.drops()[Drop.TUN_REFUSED] > 0)
        ip(f"link set {plane.device.name} up")
        await client.send(client.seal(echo_request(client.inside, "10.80.0.1", b"back")))
        assert (await client.receive())[28:] == b"back"

    trio.run(run_scenario, kind, scenario)


@BY_EVERY_PLANE
@in_new_namespace
def test_a_device_that_is_deleted_stops_the_plane_with_a_sentence(kind: tuple[str, int]) -> None:
    async def scenario(plane: OpenPlane, client: UdpClient) -> None:
        ip(f"link delete {plane.device.name}")
        await client.send(client.packet("10.80.0.1"))
        await trio.sleep(10)

    with pytest.RaisesGroup(pytest.RaisesGroup(pytest.RaisesExc(OSError, match="portway0 was taken away"))):
        trio.run(run_scenario, kind, scenario)


SEGMENT = 1000
FLIGHT = 40


class TcpSender:
    """Just enough of a client's TCP: a handshake, and segments of data as one is told to send them."""

    def __init__(self, client: UdpClient) -> None:
        self._client = client
        self._next, self._acknowledge = 1000, 0

    async def connect(self) -> None:
        await self._client.send(self._client.seal(self._packet("S", 999)))
        answer = IP(await self._client.receive())[TCP]
        assert (str(answer.flags), answer.ack) == ("SA", 1000)
        self._acknowledge = answer.seq + 1
        await self._client.send(self._client.seal(self._packet("A", 1000)))

    def segments(self, data: bytes) -> Iterator[bytes]:
        """The next so many octets, cut."""
        for at in range(0, len(data), SEGMENT):
            piece = data[at : at + SEGMENT]
            yield self._packet("A", self._next, piece)
            self._next += len(piece)

    async def acknowledged(self) -> int:
        """Octets that the other side has, as its next segment says."""
        return int(IP(await self._client.receive())[TCP].ack) - 1000

    def _packet(self, flags: str, sequence: int, data: bytes = b"") -> bytes:
        ip = IP(src=self._client.inside, dst="10.80.0.1", flags="DF")
        return bytes(ip / TCP(sport=4000, dport=9000, flags=flags, seq=sequence, ack=self._acknowledge) / Raw(data))

    def send_at_once(self, packets: Sequence[bytes]) -> None:
        """As one message, which reaches the plane whole; all are equally long, but for the last."""
        sealed = [self._client.seal(packet) for packet in packets]
        size = len(sealed[0]).to_bytes(2, sys.byteorder)
        with socket.socket(fileno=os.dup(self._client.sock.fileno())) as sock:
            sock.sendmsg(sealed, [(SOL_UDP, UDP_SEGMENT, size)], 0, self._client.address)


class Receiver:
    """A listening TCP socket on the gateway's address, and an ear on the device."""

    def __init__(self, device: str) -> None:
        self.listener = socket.create_server(("10.80.0.1", 9000))
        self._ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self._ear.bind((device, 0x0800))
        self._ear.setblocking(False)

    async def accept(self) -> trio.SocketStream:
        self.listener.setblocking(False)
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(self.listener)
        sock, _ = self.listener.accept()
        return trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    def sizes(self) -> list[int]:
        """Of the packets with data that have come out of the tunnel so far."""
        sizes = list[int]()
        while True:
            try:
                packet, about = self._ear.recvfrom(70_000)
            except BlockingIOError:
                return sizes
            if about[2] != socket.PACKET_OUTGOING and len(packet) > 100:
                sizes.append(len(packet))

    def close(self) -> None:
        self.listener.close()
        self._ear.close()


async def read_exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    with trio.fail_after(10):
        while len(data) < size:
            data += await stream.receive_some(size - len(data))
    return data


async def tcp_arrives(plane: OpenPlane, client: UdpClient, *, joined: bool) -> None:
    sender, sizes = TcpSender(client), list[int]()
    with contextlib.closing(Receiver(plane.device.name)) as receiver:
        await sender.connect()
        async with await receiver.accept() as stream:
            for _ in range(5):
                data = os.urandom(FLIGHT * SEGMENT - 1)
                sender.send_at_once(list(sender.segments(data)))
                assert await read_exactly(stream, len(data)) == data
                sizes += receiver.sizes()
    assert sum(size - 40 for size in sizes) == 5 * (FLIGHT * SEGMENT - 1)
    assert (max(sizes) > 10 * SEGMENT, len(sizes) == 5 * FLIGHT) == (joined, not joined)
    await counts(lambda: plane.traffic(7).ingress_packets == 5 * FLIGHT + 2)


@BY_EVERY_PLANE
@in_new_namespace
def test_tcp_arrives_intact_joined(kind: tuple[str, int]) -> None:
    trio.run(functools.partial(run_scenario, kind, functools.partial(tcp_arrives, joined=True)))


@BY_EVERY_PLANE
@in_new_namespace
def test_tcp_arrives_intact_without_offload(kind: tuple[str, int]) -> None:
    trio.run(functools.partial(run_scenario, kind, functools.partial(tcp_arrives, joined=False), tun_offload=False))


@BY_EVERY_PLANE
@in_new_namespace
def test_a_damaged_segment_is_never_taken_for_a_sound_one(kind: tuple[str, int]) -> None:
    async def scenario(plane: OpenPlane, client: UdpClient) -> None:
        sender = TcpSender(client)
        with contextlib.closing(Receiver(plane.device.name)) as receiver:
            await sender.connect()
            async with await receiver.accept() as stream:
                data = os.urandom(FLIGHT * SEGMENT)
                right = list(sender.segments(data))
                damaged = list(right)
                for number in (0, 7, 8, 21):
                    damaged[number] = damaged[number][:600] + bytes([damaged[number][600] ^ 4]) + damaged[number][601:]
                sender.send_at_once(damaged)
                # In front of the first damaged segment there is nothing, so nothing can be acknowledged.
                assert await sender.acknowledged() == 0
                sender.send_at_once(right)
                assert await read_exactly(stream, len(data)) == data
                sizes = receiver.sizes()
        # The damaged ones came alone, and when all were sound, they came together.
        assert sizes.count(40 + SEGMENT) >= 4
        assert max(sizes) > 20 * SEGMENT

    trio.run(run_scenario, kind, scenario)
