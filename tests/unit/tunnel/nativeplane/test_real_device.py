"""Two TUN devices, each in a namespace of its own, and the core's cutting and joining as the wire between them.

What the kernel of one side gives is cut into packets, each of which is examined; what goes to the other side is joined,
and has to be what its kernel takes. Sockets at both ends say whether everything arrived.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from pyroute2 import netns

from tests.unit.tunnel.namespaced import in_new_namespace, ip
from tests.unit.tunnel.nativeplane.offload import Trains, Written, cut
from tests.unit.tunnel.nativeplane.packets import NONE, TCPV4, USO, is_valid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
OFFLOADS = 0x01 | 0x02 | 0x20 | 0x40
"""TUN_F_CSUM, TUN_F_TSO4, TUN_F_USO4, TUN_F_USO6; the kernel has the last two only together."""
SO_RCVBUFFORCE = 33
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
SOL_UDP, UDP_SEGMENT = 17, 103
MTU = 1400
LARGEST_FRAME = 65_545
NEAR, FAR = "10.80.0.1", "10.80.0.7"
PATIENCE_S = 20


class Device:
    """A TUN device that gives uncut segments and takes joined ones."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(self.fd, TUNSETOFFLOAD, OFFLOADS)

    def close(self) -> None:
        os.close(self.fd)

    def configure(self, address: str, peer: str) -> None:
        """In the namespace where it is."""
        ip(f"address add {address} peer {peer} dev {self.name}")
        ip(f"link set {self.name} mtu {MTU} up")

    def write(self, written: Written) -> int:
        """As `train_write` answers."""
        try:
            os.write(self.fd, written.frame)
        except OSError as error:
            return -(error.errno or 1)
        return 0


class Wire:
    """From one device to the other, both ways."""

    def __init__(self, near: Device, far: Device, trains: dict[Device, Trains]) -> None:
        self.near, self.far = near, far
        self.trains = trains
        self.cut = list[tuple[int, int]]()
        """Of each frame that came uncut: what kind of segments, and how many."""
        self.joined = list[tuple[int, int]]()
        """The same of what was written joined."""
        for device, some in trains.items():
            some.answer = device.write

    def carry(self, *, until: Callable[[], bool]) -> None:
        """Carry what comes until that holds; an error when it takes too long, or a device refuses something."""
        end = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < end
            ready, _, _ = select.select([self.near.fd, self.far.fd], [], [], 0.01)
            for source, target in ((self.near, self.far), (self.far, self.near)):
                if source.fd in ready:
                    self._carry(source, self.trains[target])

    def _carry(self, source: Device, trains: Trains) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(16):
                self._cross(os.read(source.fd, LARGEST_FRAME), trains)
        written = trains.flush()
        assert sum(trains.attempts) == sum(one.packets for one in written), "nothing was refused"
        trains.attempts.clear()
        self.joined += [(one.frame[1], one.packets) for one in written if one.packets > 1]

    def _cross(self, frame: bytes, trains: Trains) -> None:
        packets = cut(frame)
        assert packets
        if packets[0][0] >> 4 != 4:
            return  # the kernel speaks IPv6 to every device
        assert all(len(packet) <= MTU and is_valid(packet) for packet in packets)
        if frame[1] != NONE:
            self.cut.append((frame[1], len(packets)))
        trains.take(*packets)


@contextlib.contextmanager
def another_namespace() -> Iterator[str]:
    name = f"pw-{os.getpid()}-{secrets.token_hex(2)}-far"
    netns.create(name)
    try:
        yield name
    finally:
        netns.remove(name)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """The calling thread is in that namespace meanwhile."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    netns.setns(name)
    try:
        yield
    finally:
        netns.setns(home)
        os.close(home)


@contextlib.contextmanager
def wired(*, joins: bool) -> Iterator[tuple[Wire, Callable[[int], tuple[socket.socket, socket.socket]]]]:
    """A wire, and what makes a pair of sockets at its ends."""
    with contextlib.ExitStack() as stack:
        far_side = stack.enter_context(another_namespace())
        near, far = (stack.enter_context(contextlib.closing(Device(name))) for name in ("near", "far"))
        ip(f"link set far netns {far_side}")
        near.configure(NEAR, FAR)
        with inside(far_side):
            far.configure(FAR, NEAR)
        trains = {device: Trains(joins_tcp=joins, joins_udp=joins) for device in (near, far)}
        for some in trains.values():
            stack.callback(some.close)

        def sockets(kind: int) -> tuple[socket.socket, socket.socket]:
            ours = stack.enter_context(socket.socket(socket.AF_INET, kind))
            with inside(far_side):
                theirs = stack.enter_context(socket.socket(socket.AF_INET, kind))
            for one, address in ((ours, NEAR), (theirs, FAR)):
                one.setblocking(False)
                one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
                one.bind((address, 5000))
            return ours, theirs

        yield Wire(near, far, trains), sockets


def available(receiver: socket.socket) -> bytes:
    """What has arrived, without waiting."""
    try:
        return receiver.recv(1 << 20)
    except BlockingIOError:
        return b""


def send_all(wire: Wire, sender: socket.socket, receiver: socket.socket, data: bytes) -> bytes:
    """What arrives of a stream of `data`, up to its length."""
    arrived, left = bytearray(), memoryview(data)

    def progress() -> bool:
        nonlocal left
        with contextlib.suppress(BlockingIOError):
            left = left[sender.send(left) :]
        arrived.extend(available(receiver))
        return len(arrived) >= len(data)

    wire.carry(until=progress)
    return bytes(arrived)


def tcp_arrives(*, joins: bool) -> Wire:
    with wired(joins=joins) as (wire, sockets):
        listener, client = sockets(socket.SOCK_STREAM)
        listener.listen()
        with contextlib.suppress(BlockingIOError):
            client.connect((NEAR, 5000))
        wire.carry(until=lambda: bool(select.select([listener], [], [], 0)[0]))
        with listener.accept()[0] as server:
            server.setblocking(False)
            for sender, receiver in ((server, client), (client, server)):
                data = os.urandom(1_000_000)
                assert send_all(wire, sender, receiver, data) == data
    assert {kind for kind, _ in wire.cut} == {TCPV4}
    assert max(wire.cut)[1] > 1
    return wire


@in_new_namespace
def test_a_tcp_stream_that_is_cut_and_joined_arrives_intact() -> None:
    assert {kind for kind, _ in tcp_arrives(joins=True).joined} == {TCPV4}


@in_new_namespace
def test_a_tcp_stream_that_is_only_cut_arrives_intact() -> None:
    assert not tcp_arrives(joins=False).joined


def udp_arrives(*, joins: bool) -> Wire:
    with wired(joins=joins) as (wire, sockets):
        server, client = sockets(socket.SOCK_DGRAM)
        for one in (server, client):
            # As QUIC does it: otherwise the kernel sets DF only for what fits the device before it is cut.
            one.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        arrived = list[bytes]()
        for sender, receiver, address in ((server, client, FAR), (client, server, NEAR)):
            data, size = os.urandom(20_300), 1000
            sender.sendmsg([data], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", size))], 0, (address, 5000))
            sender.sendto(b"a single one", (address, 5000))
            arrived.clear()

            def progress(receiver: socket.socket = receiver) -> bool:
                while datagram := available(receiver):
                    arrived.append(datagram)
                return len(arrived) == 22

            wire.carry(until=progress)
            assert arrived == [*(data[at : at + size] for at in range(0, len(data), size)), b"a single one"]
    assert wire.cut == [(USO, 21)] * 2
    return wire


@in_new_namespace
def test_datagrams_that_are_cut_and_joined_arrive_intact() -> None:
    assert udp_arrives(joins=True).joined == [(USO, 21)] * 2


@in_new_namespace
def test_datagrams_that_are_only_cut_arrive_intact() -> None:
    assert udp_arrives(joins=False).joined == []
