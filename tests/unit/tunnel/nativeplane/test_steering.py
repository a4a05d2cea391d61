"""Which socket of a group gets a datagram."""

from __future__ import annotations

import ctypes
import errno
import select
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.nativeplane.library import load
from tests.unit.tunnel.nativeplane.udp_socket import DEADLINE_S, UdpSocket
from tunnel.udp_offload import SOL_UDP, UDP_SEGMENT
from tunnel.wire import Opcode

if TYPE_CHECKING:
    from collections.abc import Iterator

CORE = load("steering.c")
CORE.steer_datagrams.argtypes = (ctypes.c_int, ctypes.c_uint)

WORKERS = 3
CONTROL = WORKERS
"""The number of control's own socket."""
DATA_V2, DATA_V1 = 9, 6
CONTROL_OPCODES = sorted(set(Opcode) - {Opcode.DATA_V1, Opcode.DATA_V2})
OTHER_OPCODES = sorted(set(range(32)) - set(Opcode))
NOBODY = 0xFFFFFF


def bind_group(host: str) -> Iterator[socket.socket]:
    """The first without SO_REUSEPORT, so that a port that anybody else has is refused; the others join it."""
    first = datagram_socket(host)
    first.bind((host, 0))
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    yield first
    for _ in range(WORKERS):
        other = datagram_socket(host)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(first.getsockname())
        yield other


def datagram_socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return sock


class Group:
    """Sockets that share a port, of which IPv4 clients know."""

    def __init__(self, members: list[UdpSocket]) -> None:
        self.members = members
        self.host, port = members[0].sock.getsockname()[:2]
        self.address = "127.0.0.1", port

    def receiver_of(self, client: socket.socket, datagram: bytes, *, segment: int = 0) -> int:
        """The number of the socket that gets it; `segment` sends it as datagrams of that length."""
        ancillary = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment))] if segment else []
        client.sendmsg([datagram], ancillary, 0, self.address)
        ready, _, _ = select.select([member.sock for member in self.members], [], [], DEADLINE_S)
        assert len(ready) == 1
        received = [[message.data for message in member.receive()] for member in self.members]
        assert sorted(received) == [[], [], [], [datagram]]
        return received.index([datagram])


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::"])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    with ExitStack() as stack:
        members = [UdpSocket(sock) for sock in bind_group(request.param)]
        for member in members:
            stack.callback(member.close)
        assert CORE.steer_datagrams(members[0].sock.fileno(), WORKERS) == 0
        yield Group(members)


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(40)]


def packet(opcode: int, peer_id: int, *, key_id: int = 0, size: int = 30) -> bytes:
    return (bytes([opcode << 3 | key_id]) + peer_id.to_bytes(3, "big")).ljust(size, b"\0")


PEER_IDS = [*range(12), 255, 256, 1000, 65_535, 65_536, 0x7FFFFF, 0xFFFFFD, 0xFFFFFE]


@pytest.mark.parametrize("peer_id", PEER_IDS)
def test_data_goes_to_the_socket_of_its_peer_wherever_it_comes_from(
    group: Group, clients: list[socket.socket], peer_id: int
) -> None:
    packets = [packet(DATA_V2, peer_id, key_id=3), packet(DATA_V2, peer_id, size=4)]
    owners = {group.receiver_of(client, packet) for client in clients[:3] for packet in packets}
    assert owners == {peer_id % WORKERS}


def test_joined_data_goes_to_the_socket_of_its_peer(group: Group, clients: list[socket.socket]) -> None:
    for peer_id in range(8):
        run = packet(DATA_V2, peer_id, size=1000) * 20
        assert group.receiver_of(clients[0], run, segment=1000) == peer_id % WORKERS


@pytest.mark.parametrize("opcode", CONTROL_OPCODES)
def test_control_packets_go_to_controls_own_socket(group: Group, clients: list[socket.socket], opcode: int) -> None:
    packets = [packet(opcode, peer_id, key_id=key_id) for peer_id, key_id in ((0, 0), (1, 7), (NOBODY, 3))]
    assert {group.receiver_of(client, packet) for client in clients[:3] for packet in packets} == {CONTROL}


@pytest.mark.parametrize("opcode", [DATA_V1, *OTHER_OPCODES])
def test_all_else_of_a_client_goes_to_one_worker(group: Group, clients: list[socket.socket], opcode: int) -> None:
    for client in clients[:3]:
        [owner] = {group.receiver_of(client, packet(opcode, number)) for number in (0, 1, NOBODY)}
        assert owner < WORKERS


def test_data_of_no_peer_goes_the_way_of_data_without_peer_ids(group: Group, clients: list[socket.socket]) -> None:
    for client in clients[:5]:
        data = group.receiver_of(client, packet(DATA_V2, NOBODY))
        assert data == group.receiver_of(client, packet(DATA_V1, 0))


@pytest.mark.parametrize("datagram", [b"", b"\x48", b"\x48\0\0"])
def test_what_is_too_short_goes_to_the_first(group: Group, clients: list[socket.socket], datagram: bytes) -> None:
    assert {group.receiver_of(client, datagram) for client in clients[:5]} == {0}


def test_nobody_else_gets_the_port(group: Group) -> None:
    with datagram_socket(group.host) as other, pytest.raises(OSError, match="in use"):
        other.bind((group.host, group.address[1]))


def test_sockets_that_are_no_group_cannot_be_steered() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alone:
        alone.bind(("127.0.0.1", 0))
        assert CORE.steer_datagrams(alone.fileno(), 2) == -errno.EINVAL
