"""Which socket of a group gets a datagram: `udp_steer_by_peer`."""

from __future__ import annotations

import errno
import select
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.nativeplane.udp_socket import CORE, DEADLINE_S, UdpSocket
from tunnel.udp_offload import SOL_UDP, UDP_SEGMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 4
DATA_V2, HARD_RESET_CLIENT_V2, DATA_V1, CONTROL_V1 = 9, 7, 6, 4
NOBODY = 0xFFFFFF


def bind_group(host: str) -> Iterator[socket.socket]:
    """The first without SO_REUSEPORT, so that a port that anybody else has is refused; the others join it."""
    first = datagram_socket(host)
    first.bind((host, 0))
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    yield first
    for _ in range(COUNT - 1):
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
        assert CORE.udp_steer_by_peer(members[0].sock.fileno(), COUNT) == 0
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
    assert owners == {peer_id % COUNT}


def test_joined_data_goes_to_the_socket_of_its_peer(group: Group, clients: list[socket.socket]) -> None:
    for peer_id in range(8):
        run = packet(DATA_V2, peer_id, size=1000) * 20
        assert group.receiver_of(clients[0], run, segment=1000) == peer_id % COUNT


@pytest.mark.parametrize("opcode", [HARD_RESET_CLIENT_V2, DATA_V1, CONTROL_V1, 0, 31])
def test_everything_else_stays_with_its_client(group: Group, clients: list[socket.socket], opcode: int) -> None:
    owners = [group.receiver_of(client, packet(opcode, 1)) for client in clients]
    assert len(set(owners)) > 1
    assert owners == [group.receiver_of(client, packet(opcode, 2)) for client in clients]


def test_data_of_no_peer_goes_the_way_of_its_clients_control_packets(
    group: Group, clients: list[socket.socket]
) -> None:
    for client in clients:
        data = group.receiver_of(client, packet(DATA_V2, NOBODY))
        assert data == group.receiver_of(client, packet(CONTROL_V1, 0))


@pytest.mark.parametrize("datagram", [b"", b"\x48", b"\x48\0\0"])
def test_what_is_too_short_goes_to_the_first(group: Group, clients: list[socket.socket], datagram: bytes) -> None:
    assert {group.receiver_of(client, datagram) for client in clients[:5]} == {0}


def test_nobody_else_gets_the_port(group: Group) -> None:
    with datagram_socket(group.host) as other, pytest.raises(OSError, match="in use"):
        other.bind((group.host, group.address[1]))


def test_a_single_socket_needs_no_steering() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alone:
        alone.bind(("127.0.0.1", 0))
        assert CORE.udp_steer_by_peer(alone.fileno(), 1) == 0


def test_sockets_that_are_no_group_cannot_be_steered() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alone:
        alone.bind(("127.0.0.1", 0))
        assert CORE.udp_steer_by_peer(alone.fileno(), 2) == -errno.EINVAL
