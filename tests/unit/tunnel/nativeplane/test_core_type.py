"""What the extension takes from Python: sound values, and sentences about the others."""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.tunnel.plane_suite.rig import DEADLINE_S, socket_device
from tunnel.data_keys import Cipher
from tunnel.plane import Drop
from tunnel.stream_framing import frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunnel.nativeplane import _core

pytestmark = pytest.mark.native

NOWHERE = (bytes(16), 0, bytes(16), 0, 0)
HALF = (bytes(64), bytes(64))
NOTHING: dict[str, Any] = {}


def plane_arguments(tun: int, wake: int) -> dict[str, Any]:
    return {
        "workers": 1,
        "network": 0x0A500000,
        "prefix": 24,
        "gateway": 0x0A500001,
        "mtu": 1500,
        "udp_offload": True,
        "tun_offload": True,
        "worn_packets": 0,
        "worn_octets": 0,
        "backlog": 1000,
        "control_backlog": 1000,
        "close_timeout_ms": 1000,
        "udp": [],
        "tun": [tun],
        "wake": wake,
    }


@pytest.fixture
def arguments() -> Iterator[dict[str, Any]]:
    near, far = socket_device()
    wake = os.eventfd(0)
    with closing(near), closing(far), ExitStack() as stack:
        stack.callback(os.close, wake)
        yield plane_arguments(near.fileno(), wake)


@pytest.fixture
def plane(arguments: dict[str, Any]) -> _core.Plane:
    from tunnel.nativeplane import _core

    return _core.Plane(**arguments)


@pytest.fixture
def table(plane: _core.Plane) -> _core.AccessTable:
    return plane.access_table(bytes(4), b"\x02", 0x0A500001, 0x0A5000FF)


def peer(table: _core.AccessTable, **changes: Any) -> dict[str, Any]:
    return {
        "peer_id": 5,
        "inside": 0x0A500005,
        "path": NOWHERE,
        "access": table,
        "ping_interval_ms": 1000,
        "idle_timeout_ms": 1000,
        "data_v2": True,
        "mss": 0,
    } | changes


def key(**changes: Any) -> dict[str, Any]:
    return {"peer_id": 5, "key_id": 0, "cipher": 0, "auth": 0, "send": HALF, "receive": HALF} | changes


def test_both_sides_mean_the_same_by_a_number() -> None:
    from tunnel.nativeplane import _core

    assert tuple(drop.value for drop in Drop) == _core.DROPS
    assert set(_core.CIPHERS) == {cipher.value for cipher in Cipher}


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"workers": 0}, ValueError, "1 to 64 workers"),
        ({"workers": 65}, ValueError, "1 to 64 workers"),
        ({"workers": -1}, ValueError, "-1 is not a number from 0"),
        ({"workers": "2"}, TypeError, "integer"),
        ({"network": 1 << 32}, ValueError, "4294967296 is not a number"),
        ({"prefix": 7}, ValueError, "8 to 30"),
        ({"prefix": 31}, ValueError, "8 to 30"),
        ({"mtu": 1 << 64}, ValueError, "is not a number"),
        ({"tun": []}, ValueError, "a queue of the device"),
        ({"tun": [1, 1]}, ValueError, "a queue of the device"),
        ({"tun": [-1]}, ValueError, "-1 is not a number"),
        ({"tun": range(66)}, ValueError, "66 descriptors are more than the 65"),
        ({"tun": 5}, TypeError, "int"),
        ({"udp": [1, 1, 1]}, ValueError, "1 workers and control take a UDP socket each"),
        ({"udp": [1 << 30]}, OSError, "cannot be set up: Bad file descriptor"),
    ],
)
def test_a_plane_is_made_of_sound_values_only(
    arguments: dict[str, Any], changes: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    from tunnel.nativeplane import _core

    with pytest.raises(error, match=sentence):
        _core.Plane(**(arguments | changes))


def test_a_table_is_only_made_by_its_plane(plane: _core.Plane) -> None:
    from tunnel.nativeplane import _core

    with pytest.raises(TypeError, match="cannot create"):
        _core.AccessTable()
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Other", (_core.Plane,), {})


@pytest.mark.parametrize(
    ("starts", "verdicts"),
    [
        (b"", b""),
        (bytes(4), b""),
        (bytes(3), b"\0"),
        (bytes(8), b"\0\0"),
        (b"\0\0\0\1", b"\0"),
        (bytes(4) + b"\0\0\0\2" + b"\0\0\0\1", bytes(3)),
        (bytes(4), b"\x04"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(plane: _core.Plane, starts: bytes, verdicts: bytes) -> None:
    with pytest.raises(ValueError, match="ascending starts"):
        plane.access_table(starts, verdicts, 0, 0)


def test_a_table_outlives_its_plane(plane: _core.Plane, table: _core.AccessTable) -> None:
    plane.add_peer(**peer(table))
    del plane
    assert table.verdict(0xC0000201) == 2


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"peer_id": 0xFFFFFF}, ValueError, "peer 16777215: a value is out of range"),
        ({"peer_id": 1 << 40}, ValueError, "is not a number"),
        ({"inside": 0x0A510005}, ValueError, "peer 5: a value is out of range"),
        ({"path": [1]}, TypeError, "expected a tuple"),
        ({"path": (bytes(16), 0, bytes(16), 0)}, TypeError, "5 arguments|5 items|argument"),
        ({"path": (bytes(4), 0, bytes(16), 0, 0)}, ValueError, "a remote address takes 16 octets, not 4"),
        ({"path": (bytes(16), 0, bytes(17), 0, 0)}, ValueError, "a local address takes 16 octets, not 17"),
        ({"path": (bytes(16), 65536, bytes(16), 0, 0)}, ValueError, "65536 is not a number from 0 to 65535"),
        ({"access": None}, TypeError, "AccessTable"),
        ({"mss": 70000}, ValueError, "70000"),
        ({"moved": (1, 2, 3)}, ValueError, "totals are"),
        ({"moved": [1]}, TypeError, "expected a tuple"),
        ({"moved": (-1,) * (4 + len(Drop))}, ValueError, "-1 is not a number"),
    ],
)
def test_a_peer_is_made_of_sound_values_only(
    plane: _core.Plane, table: _core.AccessTable, changes: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        plane.add_peer(**peer(table, **changes))
    plane.add_peer(**peer(table))


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"peer_id": 6}, KeyError, "peer 6 is not there"),
        ({"key_id": 8}, ValueError, "out of range"),
        ({"key_id": 256}, ValueError, "256 is not a number"),
        ({"cipher": 5}, ValueError, "no cipher 5"),
        ({"auth": 3}, ValueError, "no digest 3"),
        ({"send": (bytes(63), bytes(64))}, ValueError, "the cipher half of a key takes 64 octets, not 63"),
        ({"receive": (bytes(64), bytes(65))}, ValueError, "the HMAC half of a key takes 64 octets, not 65"),
        ({"receive": b""}, TypeError, "expected a tuple"),
        ({"progress": (0, 0, 0, 0, 0, b"")}, ValueError, "a replay window takes 1024 octets, not 0"),
        ({"progress": (0, 0, 0, 0, 1 << 32, bytes(1024))}, ValueError, "4294967296"),
        ({"progress": b""}, TypeError, "expected a tuple"),
    ],
)
def test_a_key_is_made_of_sound_values_only(
    plane: _core.Plane, table: _core.AccessTable, changes: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    plane.add_peer(**peer(table))
    with pytest.raises(error, match=sentence):
        plane.install_key(**key(**changes))
    plane.install_key(**key())


def test_who_is_not_there_is_a_key_error_everywhere(plane: _core.Plane, table: _core.AccessTable) -> None:
    for call in (plane.remove_peer, plane.traffic, plane.freeze_peer):
        with pytest.raises(KeyError, match="peer 5 is not there"):
            call(5)
    for change in (plane.activate_key, plane.drop_key):
        with pytest.raises(KeyError, match="peer 5 is not there"):
            change(5, 0)
    with pytest.raises(KeyError, match="peer 5 is not there"):
        plane.set_access(5, table)


def test_a_stream_that_cannot_be_served_is_refused(plane: _core.Plane, arguments: dict[str, Any]) -> None:
    for fd, number in ((1 << 30, 1), (arguments["wake"], 0)):
        with pytest.raises(OSError, match="the TCP connection cannot be served"):
            plane.add_stream(fd, (bytes(16), 0, bytes(16), 0, number))
    for act in (plane.close_stream, plane.abort_stream, plane.forget_stream):
        act(1)


def test_stopping_is_harmless_at_any_time(plane: _core.Plane) -> None:
    plane.stop()
    plane.start()
    plane.stop()
    plane.stop()
    assert plane.take_events(10) == []


def test_what_the_kernel_refuses_is_not_taken_for_a_mistake_of_the_caller(arguments: dict[str, Any]) -> None:
    from tunnel.nativeplane import _core

    with ExitStack() as stack:
        udp = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        for sock in udp:
            sock.bind(("127.0.0.1", 0))  # no group: three ports
        with pytest.raises(OSError, match="cannot be set up: Invalid argument"):
            _core.Plane(**arguments | {"workers": 2, "udp": [sock.fileno() for sock in udp]})


def threads() -> set[str]:
    return {entry.name for entry in Path("/proc/self/task").iterdir()}


def test_a_plane_is_started_once(plane: _core.Plane) -> None:
    plane.start()
    before = threads()
    with pytest.raises(OSError, match="cannot be started: Operation already in progress"):
        plane.start()
    assert not threads() - before
    plane.stop()
    with pytest.raises(OSError, match="cannot be started"):
        plane.start()


def test_a_forked_child_that_drops_its_copy_leaves_the_plane_running(arguments: dict[str, Any]) -> None:
    from tunnel.nativeplane import _core

    plane = _core.Plane(**arguments)
    plane.start()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        plane.add_stream(ours.detach(), (bytes(16), 0, bytes(16), 0, 1))
        child = os.fork()
        if child == 0:
            signal.alarm(DEADLINE_S)
            plane.stop()
            del plane
            os._exit(0)
        assert os.waitpid(child, 0) == (child, 0)
        theirs.send(frame(b"\x38still there"))
        assert select.select([arguments["wake"]], [], [], DEADLINE_S)[0]
        assert [packet for _, _, _, packet in plane.take_events(1)] == [b"\x38still there"]
        plane.stop()


STREAMS = 300


def test_many_streams_that_talk_hold_up_the_rest_for_a_few_of_them_only(arguments: dict[str, Any]) -> None:
    from tunnel.nativeplane import _core

    with ExitStack() as stack:
        udp, client = (stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2))
        udp.bind(("127.0.0.1", 0))
        plane = _core.Plane(**arguments | {"udp": [udp.fileno()]})
        stack.callback(plane.stop)
        for number in range(1, STREAMS + 1):
            ours, theirs = socket.socketpair()
            stack.enter_context(theirs).send(frame(b"\x38from a stream"))
            ours.setblocking(False)
            plane.add_stream(ours.detach(), (bytes(16), 0, bytes(16), 0, number))
        # All of them are there first.
        client.sendto(b"\x38a datagram", udp.getsockname())
        plane.start()
        packets = list[bytes]()
        while len(packets) < STREAMS + 1:
            packets += [packet for _, _, _, packet in plane.take_events(STREAMS)]
        assert packets.index(b"\x38a datagram") < STREAMS / 10
