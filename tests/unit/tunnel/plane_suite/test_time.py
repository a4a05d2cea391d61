"""What a plane does by itself: pings, idle reports, worn keys, stopping."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.unit.tunnel.plane_suite.rig import Rig, inner
from tunnel.data_channel import WearLimits
from tunnel.inner_packet import PING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TARGET = "192.0.2.1"


async def test_a_quiet_client_is_pinged_and_pings_are_no_traffic(rig: Rig) -> None:
    udp, tcp = await rig.udp_client(ping_interval_s=0.1), await rig.tcp_client(ping_interval_s=0.1)
    for client in (udp, tcp):
        assert await client.receive() == PING
        assert rig.plane.traffic(client.peer_id).egress_packets == 0


async def test_a_silent_client_is_reported_once(rig: Rig) -> None:
    silent, other = await rig.udp_client(idle_timeout_s=0.1), await rig.udp_client(idle_timeout_s=1.5)
    assert await rig.events.wait("idle") == (silent.peer_id,)
    # By the time of the second report there were ticks enough for a second one about the first.
    assert await rig.events.wait("idle", 2) == (other.peer_id,)


async def test_pings_keep_a_client_alive_and_forgeries_do_not(rig: Rig) -> None:
    alive, dead = await rig.udp_client(idle_timeout_s=1.5), await rig.udp_client(idle_timeout_s=1.5)
    forged = dead.packet(TARGET)[:-1] + b"\x00"
    with trio.move_on_after(2.6):
        while True:
            await alive.send(alive.seal(PING))
            await dead.send(forged)
            await trio.sleep(0.1)
    assert rig.events.of("idle") == [(dead.peer_id,)]


@pytest.mark.parametrize("wear", [WearLimits(packets=10), WearLimits(octets=500)], ids=["packets", "octets"])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_worn_key_is_reported_once(
    start: Callable[..., Awaitable[Rig]], wear: WearLimits, direction: str
) -> None:
    rig = await start(wear=wear)
    client = await rig.udp_client(idle_timeout_s=3)
    for _ in range(12):
        if direction == "up":
            await client.send(client.packet(TARGET, bytes(50)))
            await rig.from_tun()
        else:
            await rig.to_tun(inner(TARGET, client.inside, bytes(50)))
            await client.receive()
    assert await rig.events.wait("worn") == (client.peer_id,)
    # A new key is fresh, whatever its id; it wears like the first.
    for key_id in (1, 0):
        rig.new_key(client, key_id)
        await trio.sleep(1.2)
        assert len(rig.events.of("worn")) == 1
    for _ in range(12):
        await rig.to_tun(inner(TARGET, client.inside, bytes(50)))
        await client.receive()
    await rig.events.wait("worn", 2)


async def test_a_replaced_key_wears_without_a_word(start: Callable[..., Awaitable[Rig]]) -> None:
    rig = await start(wear=WearLimits(packets=10))
    leisurely, worn = await rig.udp_client(), await rig.udp_client()
    rig.new_key(leisurely, 1)
    leisurely.key_id = 0  # a client may go on under its old key for the whole transition window
    for client in (leisurely, worn):
        for _ in range(12):
            await client.send(client.packet(TARGET))
            await rig.from_tun()
    assert await rig.events.wait("worn") == (worn.peer_id,)
    await trio.sleep(1.2)
    assert rig.events.of("worn") == [(worn.peer_id,)]


async def test_stopping_closes_everything(rig: Rig) -> None:
    client, path = await rig.tcp_stranger()
    await rig.stop()
    assert rig.events.of("closed") == [(path,)]
    with pytest.raises(EOFError):
        await client.receive_packet()
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
            probe.bind(("127.0.0.1", rig.port))
