"""What is the native plane's own: threads, descriptors, and reports that come late."""

from __future__ import annotations

import array
import fcntl
import gc
import select
import socket
import termios
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.unit.tunnel.plane_suite.conftest import open_plane
from tests.unit.tunnel.plane_suite.rig import DEADLINE_S, Events, Rig, peer, settings, socket_device
from tunnel.inner_packet import OCC_EXIT
from tunnel.plane import Transport

if TYPE_CHECKING:
    from tests.unit.tunnel.plane_suite.conftest import OpenPlane
    from tunnel.plane import Path as ClientPath

pytestmark = pytest.mark.native

CYCLES = 1000
FLOOD = 1000
REPORTS = (1 << 20) // 64
"""For how many there is room, of the smallest."""
TARGET = "192.0.2.1"
UNANSWERABLE = b"\x38unanswerable"


def open_native(device: socket.socket, **overrides: Any) -> OpenPlane:
    return open_plane("native", settings(**overrides), device)


def threads() -> set[str]:
    """Others than the plane's may end meanwhile."""
    return {entry.name for entry in Path("/proc/self/task").iterdir()}


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


async def test_no_thread_outlives_run(nursery: trio.Nursery) -> None:
    before = threads()
    near, far = socket_device()
    rig = Rig(open_native(near, workers=4), 0, far)
    assert not threads() - before
    await nursery.start(rig.run)
    assert len(threads() - before) == 4 == rig.plane.facts().workers
    await rig.stop()
    assert not threads() - before
    rig.close()


async def test_a_thousand_starts_leave_no_descriptor_behind() -> None:
    before = descriptors()
    for number in range(CYCLES):
        near, far = socket_device()
        with far:
            plane = open_native(near, workers=2)
            if number % 10 == 0:
                plane.close()
                continue
            async with trio.open_nursery() as nursery:
                await nursery.start(plane.run, Events())
                stream = await trio.open_tcp_stream("127.0.0.1", plane.port)
                await stream.aclose()
                nursery.cancel_scope.cancel()
    del plane
    gc.collect()
    assert descriptors() == before


async def test_a_plane_that_ran_still_answers_and_sends_nothing(nursery: trio.Nursery) -> None:
    near, far = socket_device()
    plane = open_native(near, workers=2)
    rig = Rig(plane, plane.port, far)
    await nursery.start(rig.run)
    client = await rig.udp_client()
    _, path = await rig.tcp_stranger()
    await rig.expect_passage(client)
    await rig.stop()
    plane.send_control(client.path("127.0.0.1"), [b"\x20too late"])
    plane.send_control(path, [b"\x20too late"])
    plane.close_stream(path)
    assert plane.traffic(client.peer_id).ingress_packets == 1
    assert plane.remove_peer(client.peer_id).ingress_packets == 1
    assert not any(plane.drops().values())
    rig.close()


class Answering(Events):
    """Answers each control packet, unless it is one that nobody can."""

    plane: OpenPlane

    def control_received(self, path: ClientPath, packet: bytes) -> None:
        if packet == UNANSWERABLE:
            raise ArithmeticError
        self.plane.send_control(path, [b"answer to " + packet, b"and more"])
        super().control_received(path, packet)


async def test_what_was_answered_before_a_fault_leaves_all_the_same() -> None:
    near, far = socket_device()
    events = Answering()
    events.plane = plane = open_native(near, workers=1)
    with far, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", plane.port))
        client.settimeout(DEADLINE_S)
        for packet in (b"\x38one", b"\x38two", UNANSWERABLE):
            client.send(packet)
        with pytest.RaisesGroup(ArithmeticError):
            await plane.run(events)
        answers = [client.recv(100) for _ in range(4)]
    assert answers == [b"answer to \x38one", b"and more", b"answer to \x38two", b"and more"]


async def test_a_device_that_is_gone_ends_the_plane_with_a_sentence() -> None:
    near, far = socket_device()
    plane = open_native(near, workers=2)
    far.close()
    before = threads()
    sentence = "the TUN device portway%d was taken away .*: restart the endpoint"
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match=sentence)):
        await plane.run(Events())
    assert not threads() - before


def test_a_second_gateway_does_not_get_half_of_the_packets() -> None:
    near, far = socket_device()
    with near, far:
        first = open_native(near, workers=3)
        with pytest.raises(OSError, match=f"UDP 127.0.0.1:{first.port}: another program uses this port"):
            open_native(near, workers=3, port=first.port)
        first.close()


async def test_what_an_earlier_peer_did_is_not_said_of_a_new_one(nursery: trio.Nursery) -> None:
    near, far = socket_device()
    plane = open_native(near, transports=frozenset({Transport.UDP}))
    rig = Rig(plane, plane.port, far)
    await nursery.start(rig.run)
    client = await rig.udp_client()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.sendto(client.packet(TARGET), client.address)
        # Once the packet is through, so is the report of it; but this task has not let anybody hear of it yet.
        assert select.select([far], [], [], DEADLINE_S)[0]
        plane.remove_peer(client.peer_id)
        plane.add_peer(peer(client.peer_id, client.inside))
        plane._core.stop()  # type: ignore[union-attr]
        while select.select([plane._wake], [], [], 0)[0]:  # type: ignore[union-attr]
            await trio.testing.wait_all_tasks_blocked()
    assert rig.events.of("floated") == []
    rig.close()


def is_empty(sock: socket.socket) -> bool:
    """Whether everything that arrived has been received."""
    waiting = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, waiting)
    return waiting[0] == 0


async def test_a_flood_of_control_packets_does_not_hold_back_what_the_workers_report(nursery: trio.Nursery) -> None:
    near, far = socket_device()
    plane = open_native(near, workers=3, transports=frozenset({Transport.UDP}))
    rig = Rig(plane, plane.port, far)
    await nursery.start(rig.run)
    clients = [await rig.udp_client() for _ in range(6)]
    with ExitStack() as stack:
        flood, *socks = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(len(clients) + 1)
        ]
        # Nobody hears of anything before the workers have seen it all: this does not let go of the loop.
        for number in range(FLOOD):
            flood.sendto(b"\x38" + number.to_bytes(4, "big"), clients[0].address)
        for client, sock in zip(clients, socks, strict=True):
            sock.sendto(client.seal(OCC_EXIT), client.address)
        while not all(map(is_empty, plane._udp[:-1])):  # type: ignore[index]
            time.sleep(0.001)  # noqa: ASYNC251
    await rig.events.wait("control", FLOOD)
    kinds = [kind for kind, *_ in rig.events.seen]
    assert kinds.count("exited") == len(clients)
    last = len(kinds) - kinds[::-1].index("exited")
    assert last < FLOOD / 10
    rig.close()


async def test_a_device_that_is_gone_is_told_however_much_there_is_to_tell_before() -> None:
    near, far = socket_device()
    plane = open_native(near, transports=frozenset({Transport.UDP}))

    async def flood_and_go(rig: Rig) -> None:
        client = await rig.udp_client()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(REPORTS + 1):
                sock.sendto(client.seal(OCC_EXIT), client.address)
        # Again nobody hears of anything meanwhile.
        while not all(map(is_empty, plane._udp)):  # type: ignore[arg-type]
            time.sleep(0.001)  # noqa: ASYNC251
        far.close()
        time.sleep(0.1)  # noqa: ASYNC251 - the worker meets the full ring
        await trio.sleep(DEADLINE_S)

    sentence = "the TUN device portway%d was taken away"
    gone = pytest.RaisesGroup(pytest.RaisesGroup(pytest.RaisesExc(OSError, match=sentence)))
    with closing(Rig(plane, plane.port, far)) as rig, gone:
        async with trio.open_nursery() as nursery:
            await nursery.start(rig.run)
            await flood_and_go(rig)
            nursery.cancel_scope.cancel()
