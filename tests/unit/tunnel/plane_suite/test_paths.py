"""Where clients are: control packets and their way back, floating, several addresses of the gateway, IPv6."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.plane_suite.rig import Rig, inner
from tunnel.plane import Drop, Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TARGET = "192.0.2.1"
CONTROL_OPCODES = (3, 4, 5, 7, 8, 10, 11)


@pytest.mark.parametrize("opcode", CONTROL_OPCODES)
async def test_control_packets_go_up_as_they_are_and_answers_go_back(rig: Rig, opcode: int) -> None:
    stranger = await rig.udp_stranger()
    packet = bytes([opcode << 3]) + b"whatever"
    await stranger.send(packet)
    path, received = await rig.events.wait("control")
    assert (path, received) == (stranger.path("127.0.0.1"), packet)
    await stranger.send(packet[:1])
    assert (await rig.events.wait("control", 2))[1] == packet[:1]
    answers = [b"one", b"another, longer one", b"x" * 1400]
    rig.plane.send_control(path, answers)
    assert [await stranger.receive_packet() for _ in answers] == answers
    assert not any(rig.plane.drops().values())


@pytest.mark.parametrize(
    ("listen", "hit"),
    [
        (IPv4Address("0.0.0.0"), "127.0.0.1"),
        (IPv4Address("0.0.0.0"), "127.0.0.99"),
        (IPv6Address("::"), "127.0.0.99"),
        (IPv6Address("::"), "::1"),
        (IPv6Address("::1"), "::1"),
    ],
)
async def test_answers_leave_from_the_address_that_the_client_sent_to(
    start: Callable[..., Awaitable[Rig]], listen: IPv4Address | IPv6Address, hit: str
) -> None:
    rig = await start(listen=listen, transports=frozenset({Transport.UDP}))
    client = await rig.udp_stranger(hit)
    # A connected socket hears nothing that comes from another address.
    await client.sock.connect((hit, rig.port))
    await client.sock.send(b"\x38hello")
    path, _ = await rig.events.wait("control")
    assert path == client.path(hit)
    rig.plane.send_control(path, [b"answer"])
    assert await client.receive_packet() == b"answer"

    rig.admit(client, path)
    await client.sock.send(client.packet(TARGET))
    assert await rig.from_tun() == inner(client.inside, TARGET)
    await rig.to_tun(*[inner(TARGET, client.inside)] * 3)
    for _ in range(3):
        assert await client.receive() == inner(TARGET, client.inside)


async def test_an_authentic_packet_from_a_new_address_moves_the_client_there(rig: Rig) -> None:
    client, elsewhere = await rig.udp_client(), await rig.udp_stranger()
    elsewhere_path = elsewhere.path("127.0.0.1")
    await elsewhere.send(client.packet(TARGET))
    assert await rig.events.wait("floated") == (client.peer_id, elsewhere_path)
    assert await rig.from_tun() == inner(client.inside, TARGET)
    await rig.to_tun(inner(TARGET, client.inside))
    assert client.open(await elsewhere.receive_packet()) == inner(TARGET, client.inside)
    # And back again; the new address is free for others then.
    await rig.expect_passage(client)
    rig.admit(elsewhere, elsewhere_path)
    await rig.expect_passage(elsewhere)
    assert len(rig.events.of("floated")) == 2


async def test_neither_forged_nor_repeated_packets_move_a_client(rig: Rig) -> None:
    client, attacker = await rig.udp_client(), await rig.udp_stranger()
    await rig.expect_passage(client)
    packet = client.packet(TARGET)
    await client.send(packet)
    await rig.from_tun()
    await attacker.send(packet, packet[:-1] + bytes([packet[-1] ^ 1]))
    await rig.until(lambda: sum(rig.plane.drops().values()) == 2)
    await rig.to_tun(inner(TARGET, client.inside))
    assert await client.receive() == inner(TARGET, client.inside)
    assert rig.events.of("floated") == []


async def test_nobody_moves_to_an_address_that_is_another_clients(rig: Rig) -> None:
    one, two = await rig.udp_client(), await rig.udp_client()
    await rig.expect_drops(two, [one.packet(TARGET)], FLOAT_REFUSED=1)
    await rig.expect_traffic(one, drops={Drop.FLOAT_REFUSED: 1})
    await rig.to_tun(inner(TARGET, one.inside))
    assert await one.receive() == inner(TARGET, one.inside)


async def test_moves_that_were_refused_do_not_keep_a_client_from_moving(rig: Rig) -> None:
    client, other, elsewhere = await rig.udp_client(), await rig.udp_client(), await rig.udp_stranger()
    await rig.expect_drops(other, [client.packet(TARGET) for _ in range(10)], FLOAT_REFUSED=10)
    await elsewhere.send(client.packet(TARGET))
    assert await rig.from_tun() == inner(client.inside, TARGET)


async def test_moves_to_and_fro_are_bounded(rig: Rig) -> None:
    client = await rig.udp_client()
    places = [await rig.udp_stranger() for _ in range(2)]
    for number in range(40):
        await places[number % 2].send(client.packet(TARGET))
    await rig.until(lambda: rig.plane.drops()[Drop.FLOAT_REFUSED] + rig.plane.traffic(7).ingress_packets == 40)
    assert len(rig.events.of("floated")) < 20
    assert rig.plane.drops()[Drop.FLOAT_REFUSED] >= 10


async def test_a_new_client_takes_over_the_address_of_one_that_went_unnoticed(rig: Rig) -> None:
    old = await rig.udp_client()
    path = old.path("127.0.0.1")
    new = await rig.udp_stranger()
    new.close()
    new.sock = old.sock
    rig.admit(new, path)
    await rig.expect_passage(new)
    rig.plane.remove_peer(old.peer_id)
    await rig.to_tun(inner(TARGET, new.inside))
    assert await new.receive() == inner(TARGET, new.inside)


async def test_a_client_that_came_by_tcp_is_not_valid_over_udp(rig: Rig) -> None:
    client, elsewhere = await rig.tcp_client(), await rig.udp_stranger()
    await elsewhere.send(client.packet(TARGET))
    await rig.until(lambda: rig.plane.drops()[Drop.UNKNOWN_PEER] == 1)
    await rig.expect_passage(client)
    assert rig.events.of("floated") == []


async def test_an_unreachable_client_costs_a_counter(rig: Rig) -> None:
    client = await rig.udp_client()
    path = client.path("127.0.0.1")
    rig.plane.remove_peer(client.peer_id)
    # From a loopback address to nowhere: the kernel has no route for that.
    nowhere = type(path)(path.transport, ("240.0.0.1", 9), path.local)
    rig.plane.send_control(nowhere, [b"one", b"two"])
    assert rig.plane.drops()[Drop.SEND_FAILED] == 2
    rig.admit(client, nowhere)
    await rig.to_tun(inner(TARGET, client.inside), inner(TARGET, client.inside))
    await rig.until(lambda: rig.plane.traffic(client.peer_id).drops.get(Drop.SEND_FAILED) == 2)
    await rig.expect_passage(client)
