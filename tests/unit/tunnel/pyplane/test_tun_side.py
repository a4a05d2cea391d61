from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.plane_suite.rig import EVERYTHING, GATEWAY, NETWORK, inner
from tests.unit.tunnel.pyplane.test_joining import segment
from tunnel.plane import Drop, Path, Peer, Transport
from tunnel.pyplane.access import AccessTables
from tunnel.pyplane.counters import DropCounters
from tunnel.pyplane.peers import PeerRecord
from tunnel.pyplane.tun_side import TunSide
from tunnel.tun import TunDevice
from tunnel.tun_offload import HEADER_SIZE, PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

DATAGRAM = inner("10.80.0.7", "192.0.2.1", b"hello")


class Bench:
    """A side on one end of a socket pair, and what comes out of the other."""

    def __init__(self, near: socket.socket, far: socket.socket, *, offload: bool) -> None:
        self.far = far
        self.counters = DropCounters()
        self.side = TunSide(TunDevice("tun7", 0, near, offload=offload), self.counters)
        about = Peer(7, Path(Transport.UDP, ("127.0.0.1", 9)), b"\x0a\x50\x00\x07", EVERYTHING, 10, 60)
        self.peer = PeerRecord(about, AccessTables(NETWORK, GATEWAY).access(EVERYTHING), 0)
        far.setblocking(False)

    def take(self, *packets: bytes) -> None:
        """As `Ingress` does it."""
        for packet in packets:
            train = self.side.trains.get(packet[12:24])
            if train is None or not train.extend(packet):
                self.side.write(self.peer, packet)

    def written(self) -> list[bytes]:
        """What came out since the last call, with headers."""
        packets = list[bytes]()
        while True:
            try:
                packets.append(self.far.recv(70_000))
            except BlockingIOError:
                return packets


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        for end in (near, far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        yield near, far


@pytest.fixture
def bench(ends: tuple[socket.socket, socket.socket]) -> Bench:
    return Bench(*ends, offload=True)


def of_flow(port: int, number: int, **tcp: object) -> bytes:
    return segment(1000, 1000 * number, tcp={"sport": port, **tcp})


def test_draining_stops_at_the_budget_and_at_the_end(ends: tuple[socket.socket, socket.socket]) -> None:
    bench, taken = Bench(*ends, offload=False), list[bytes]()
    for packet in (b"one", b"two", b"three"):
        bench.far.send(packet)
    assert bench.side.drain(taken.append, 2)
    assert taken == [b"one", b"two"]
    assert not bench.side.drain(taken.append, 2)
    assert taken == [b"one", b"two", b"three"]


def test_headers_are_taken_off_what_is_read(bench: Bench) -> None:
    taken = list[bytes]()
    bench.far.send(PLAIN + DATAGRAM)
    assert not bench.side.drain(taken.append, 2)
    assert taken == [DATAGRAM]


def test_a_device_that_is_taken_away_is_an_error_with_a_sentence(bench: Bench) -> None:
    bench.far.close()
    with pytest.raises(OSError, match="the TUN device tun7 was taken away"):
        bench.side.drain(lambda _: None, 1)


def test_without_offload_every_packet_is_written_at_once_as_it_is(ends: tuple[socket.socket, socket.socket]) -> None:
    bench = Bench(*ends, offload=False)
    packets = [of_flow(1, 0), of_flow(1, 1), DATAGRAM]
    bench.take(*packets)
    assert bench.written() == packets


def test_segments_of_a_flow_are_written_together_at_the_end_of_the_turn(bench: Bench) -> None:
    bench.take(*(of_flow(1, number) for number in range(10)))
    assert bench.written() == []
    bench.side.flush()
    (joined,) = bench.written()
    assert len(joined) == HEADER_SIZE + 52 + 10_000
    assert (bench.peer.ingress_packets, bench.peer.ingress_bytes) == (10, 10_520)
    bench.side.flush()
    assert bench.written() == []


def test_a_single_segment_is_written_as_it_is(bench: Bench) -> None:
    packet = of_flow(1, 0)
    bench.take(packet)
    bench.side.flush()
    assert bench.written() == [PLAIN + packet]


def test_flows_in_one_turn_do_not_disturb_each_other(bench: Bench) -> None:
    bench.take(*(of_flow(port, number) for number in range(5) for port in (1, 2, 3)), DATAGRAM)
    bench.side.flush()
    assert [len(packet) for packet in bench.written()] == [HEADER_SIZE + len(DATAGRAM)] + 3 * [HEADER_SIZE + 5052]


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(segment(0, 2000, tcp={"sport": 1}), id="an acknowledgement"),
        pytest.param(segment(500, 2000, tcp={"sport": 1, "flags": "FA"}), id="the end of the connection"),
        pytest.param(segment(500, 9000, tcp={"sport": 1}), id="a gap"),
        pytest.param(segment(500, 2000, ip={"flags": "MF"}, tcp={"sport": 1}), id="a fragment with ports"),
        pytest.param(segment(500, ip={"flags": 0, "frag": 5}, tcp={"sport": 9}), id="a fragment without"),
        pytest.param(segment(500, 2000, ip={"options": [b"\x01"] * 4}, tcp={"sport": 1}), id="IP options"),
    ],
)
def test_each_flow_keeps_its_order(bench: Bench, between: bytes) -> None:
    later = of_flow(1, 3)
    bench.take(of_flow(1, 0), of_flow(1, 1), between, later)
    bench.side.flush()
    joined, *rest = bench.written()
    assert len(joined) == HEADER_SIZE + 52 + 2000
    assert rest == [PLAIN + between, PLAIN + later]


def test_segments_among_which_one_is_damaged_are_passed_on_as_they_are(bench: Bench) -> None:
    damaged = bytearray(of_flow(1, 1))
    damaged[500] ^= 1
    packets = [of_flow(1, 0), bytes(damaged), of_flow(1, 2)]
    bench.take(*packets)
    bench.side.flush()
    assert bench.written() == [PLAIN + packet for packet in packets]
    assert bench.peer.ingress_packets == 3


def test_what_the_device_refuses_is_counted(bench: Bench) -> None:
    bench.far.close()
    bench.take(of_flow(1, 0), of_flow(1, 1), of_flow(2, 0), DATAGRAM)
    bench.side.flush()
    assert bench.counters.totals[Drop.TUN_REFUSED] == bench.peer.drops[Drop.TUN_REFUSED] == 4
    assert bench.peer.ingress_packets == bench.peer.ingress_bytes == 0


def test_a_device_that_takes_no_trains_gets_single_packets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = list[int]()

    def refuse(_: int, pieces: list[bytes]) -> int:
        attempts.append(len(pieces))
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "writev", refuse)
    packets = [of_flow(1, number) for number in range(6)]
    bench.take(*packets[:3])
    bench.side.flush()
    bench.take(*packets[3:])
    bench.side.flush()
    assert bench.written() == [PLAIN + packet for packet in packets]
    assert (attempts, bench.peer.ingress_packets) == ([4], 6)
