from __future__ import annotations

import ctypes
import select
import socket
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.nativeplane.library import load
from tests.unit.tunnel.nativeplane.test_events import CONTROL, EventStruct
from tests.unit.tunnel.nativeplane.udp_socket import DEADLINE_S, UdpSocketFacts
from tunnel.plane import Drop

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM = 1000
"""More datagrams than one receive takes."""


class InboxStruct(ctypes.Structure):
    """`struct inbox`."""

    _fields_ = (
        ("udp", UdpSocketFacts),
        ("receiver", ctypes.c_void_p),
        ("count", ctypes.c_uint),
        ("next", ctypes.c_uint),
    )


CORE = load("inbox.c", "udp.c")
CORE.inbox_open.argtypes = (ctypes.c_void_p, ctypes.c_int)
CORE.inbox_close.argtypes = (ctypes.c_void_p,)
CORE.inbox_pop.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(EventStruct))
CORE.inbox_pop.restype = ctypes.c_bool
CORE.inbox_lost.argtypes = (ctypes.c_void_p,)
CORE.inbox_lost.restype = ctypes.c_uint64


class Inbox:
    """An inbox behind a socket, and somebody who writes to it."""

    def __init__(self) -> None:
        self.sock, self.client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.sock, self.client):
            sock.bind(("127.0.0.1", 0))
        self.client.connect(self.sock.getsockname())
        self._struct = InboxStruct()
        self._drops = (ctypes.c_uint64 * len(Drop))()
        assert CORE.inbox_open(ctypes.byref(self._struct), self.sock.fileno()) == 0

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.client.send(datagram)
        assert select.select([self.sock], [], [], DEADLINE_S)[0]

    def pop(self) -> tuple[int, bytes] | None:
        """The next packet, and the port that it is from."""
        event = EventStruct()
        if not CORE.inbox_pop(ctypes.byref(self._struct), ctypes.byref(self._drops), ctypes.byref(event)):
            return None
        assert event.kind == CONTROL
        return event.path.port, event.packet.octets()

    @property
    def drops(self) -> dict[Drop, int]:
        return {drop: count for drop, count in zip(Drop, self._drops, strict=True) if count}

    @property
    def lost(self) -> int:
        count: int = CORE.inbox_lost(ctypes.byref(self._struct))
        return count

    def close(self) -> None:
        CORE.inbox_close(ctypes.byref(self._struct))
        self.sock.close()
        self.client.close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()


def control(number: int) -> bytes:
    return b"\x20" + number.to_bytes(4, "big")


def test_what_has_come_is_handed_out_in_order_and_once(inbox: Inbox) -> None:
    packets = [control(number) for number in range(150)]
    inbox.send(*packets)
    port = inbox.client.getsockname()[1]
    assert [inbox.pop() for _ in packets] == [(port, packet) for packet in packets]
    assert inbox.pop() is None


def test_an_empty_one_says_so_again_and_again(inbox: Inbox) -> None:
    assert inbox.pop() is inbox.pop() is None
    inbox.send(control(1))
    assert inbox.pop() is not None
    assert inbox.pop() is inbox.pop() is None


def test_what_is_no_control_packet_is_dropped_and_counted(inbox: Inbox) -> None:
    data_v1, data_v2, cut_short, rubbish = b"\x30data", b"\x48\0\0\7data", b"\x48\0\0", b"\xff"
    inbox.send(data_v1, data_v2, cut_short, rubbish, b"", control(1))
    popped = inbox.pop()
    assert popped is not None
    assert popped[1] == control(1)
    assert inbox.drops == {Drop.UNKNOWN_PEER: 2, Drop.NOT_OPENVPN: 3}


def test_a_flood_of_rubbish_is_looked_at_in_parts(inbox: Inbox) -> None:
    inbox.send(*[b"\xff"] * 100, control(1))
    assert inbox.pop() is None
    assert inbox.drops == {Drop.NOT_OPENVPN: 64}
    assert inbox.pop() is not None
    assert inbox.drops == {Drop.NOT_OPENVPN: 100}


def test_what_finds_no_room_is_counted_as_lost(inbox: Inbox) -> None:
    inbox.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    assert inbox.lost == 0
    inbox.send(*[control(number) for number in range(ROOM)])
    kept = 0
    while inbox.pop() is not None:
        kept += 1
    assert 0 < kept < ROOM
    assert kept + inbox.lost == ROOM


def test_without_a_socket_there_is_nothing(inbox: Inbox) -> None:
    nothing, drops, event = InboxStruct(), (ctypes.c_uint64 * len(Drop))(), EventStruct()
    assert not CORE.inbox_pop(ctypes.byref(nothing), ctypes.byref(drops), ctypes.byref(event))
    assert CORE.inbox_lost(ctypes.byref(nothing)) == 0


def test_what_is_no_socket_is_refused() -> None:
    struct = InboxStruct()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        assert CORE.inbox_open(ctypes.byref(struct), sock.fileno()) < 0
    CORE.inbox_close(ctypes.byref(struct))
