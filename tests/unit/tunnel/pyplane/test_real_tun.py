"""The plane with the kernel's own TUN device: its host answers, routes and clamps for real."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
import trio

from tests.unit.tunnel.namespaced import in_new_namespace, ip
from tests.unit.tunnel.plane_suite.rig import EVERYTHING, Events, UdpClient, inner, ipv4, settings
from tunnel.data_keys import Cipher
from tunnel.plane import Drop, Peer
from tunnel.pyplane import PythonDataPlane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


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


async def run_scenario(scenario: Callable[[PythonDataPlane, UdpClient], Awaitable[None]]) -> None:
    """A plane on a TUN device that is up, with one client."""
    plane = PythonDataPlane.open(settings())
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


@in_new_namespace
def test_the_host_answers_a_clients_ping() -> None:
    async def scenario(plane: PythonDataPlane, client: UdpClient) -> None:
        for number in range(100):
            data = number.to_bytes(4, "big") * 300
            await client.send(client.seal(echo_request(client.inside, "10.80.0.1", data)))
            answer = await client.receive()
            assert (answer[12:16], answer[16:20]) == (IPv4Address("10.80.0.1").packed, ipv4(client.inside).packed)
            assert (answer[20], answer[28:]) == (0, data)
        assert plane.traffic(7).ingress_packets == plane.traffic(7).egress_packets == 100

    trio.run(run_scenario, scenario)


@in_new_namespace
def test_a_device_that_is_down_costs_a_counter() -> None:
    async def scenario(plane: PythonDataPlane, client: UdpClient) -> None:
        ip(f"link set {plane.device.name} down")
        await client.send(client.packet("10.80.0.1"))
        with trio.fail_after(10):
            while plane.drops()[Drop.TUN_REFUSED] == 0:  # noqa: ASYNC110 - a plane has no event for its counters
                await trio.sleep(0.01)
        ip(f"link set {plane.device.name} up")
        await client.send(client.seal(echo_request(client.inside, "10.80.0.1", b"back")))
        assert (await client.receive())[28:] == b"back"

    trio.run(run_scenario, scenario)


@in_new_namespace
def test_a_device_that_is_deleted_stops_the_plane_with_a_sentence() -> None:
    async def scenario(plane: PythonDataPlane, client: UdpClient) -> None:
        ip(f"link delete {plane.device.name}")
        await client.send(client.packet("10.80.0.1"))
        await trio.sleep(10)

    with pytest.RaisesGroup(pytest.RaisesGroup(pytest.RaisesExc(OSError, match="portway0 was taken away"))):
        trio.run(run_scenario, scenario)
