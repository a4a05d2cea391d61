"""Taking a client out of a plane and into another, of the same kind or not: nothing is lost, nothing happens twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from tests.unit.tunnel.plane_suite.conftest import PLANES, open_plane
from tests.unit.tunnel.plane_suite.rig import EVERYTHING, Rig, access, inner, settings, socket_device
from tunnel.data_keys import Cipher
from tunnel.errors import LocalError
from tunnel.plane import Drop, KeyState, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.unit.tunnel.plane_suite.rig import UdpClient

TARGET = "192.0.2.1"


@pytest.fixture(params=PLANES)
async def successor(
    request: pytest.FixtureRequest, rig: Rig, nursery: trio.Nursery
) -> AsyncIterator[Callable[[], Awaitable[Rig]]]:
    """Stops the first plane and starts another one on its port, with the same clients."""
    started: list[Rig] = []

    async def start() -> Rig:
        await rig.stop()
        near, far = socket_device()
        name, workers = request.param
        chosen = settings(port=rig.port, workers=workers)
        started.append(Rig(open_plane(name, chosen, near), rig.port, far))
        await nursery.start(started[-1].run)
        return started[-1]

    yield start
    for other in started:
        await other.stop()
        other.close()


async def down(rig: Rig, client: UdpClient, payload: bytes) -> bytes:
    """What the client gets of a packet from the host."""
    await rig.to_tun(inner(TARGET, client.inside, payload))
    packet = await client.receive_packet()
    assert client.open(packet)[20:] == payload
    return packet


@pytest.mark.parametrize("cipher", Cipher, ids=lambda cipher: cipher.value)
async def test_a_client_goes_on_under_its_keys(
    rig: Rig, successor: Callable[[], Awaitable[Rig]], cipher: Cipher
) -> None:
    client = await rig.udp_client(cipher=cipher)
    old = client.packet(TARGET, b"under the first key")
    rig.new_key(client, 1, cipher)
    for payload in (b"one", b"two"):
        await rig.expect_passage(client)
        await down(rig, client, payload)
    state = rig.plane.export_peer(client.peer_id)
    after = await successor()
    after.plane.import_peer(state)
    # Both directions, both keys; the client's own replay window refuses a packet id that is used again.
    await down(after, client, b"three")
    await after.expect_passage(client)
    await client.send(old)
    assert (await after.from_tun())[20:] == b"under the first key"
    await after.expect_traffic(client, ingress_packets=4, egress_packets=3)


async def test_what_was_accepted_before_is_refused_after(rig: Rig, successor: Callable[[], Awaitable[Rig]]) -> None:
    client = await rig.udp_client()
    packets = [client.packet(TARGET, number.to_bytes(2, "big")) for number in range(3000)]
    accepted, missing = packets[::2], packets[1::2]
    for start in range(0, len(accepted), 30):
        await client.send(*accepted[start : start + 30])
        for _ in accepted[start : start + 30]:
            await rig.from_tun()
    after = await successor()
    after.plane.import_peer(rig.plane.export_peer(client.peer_id))
    await after.expect_drops(client, accepted[-100:], REPLAY=100)
    await after.expect_drops(client, accepted[:100], REPLAY=100)
    # What got lost on the way may still come, if it is not too old for both planes.
    await client.send(*missing[-50:])
    received = [await after.from_tun() for _ in missing[-50:]]
    assert [packet[20:] for packet in received] == [number.to_bytes(2, "big") for number in range(2901, 3000, 2)]


async def test_an_exported_client_is_gone(rig: Rig) -> None:
    client = await rig.udp_client()
    await rig.expect_passage(client)
    rig.plane.export_peer(client.peer_id)
    other = await rig.udp_client()
    await client.send(client.packet(TARGET))
    await rig.until(lambda: rig.plane.drops()[Drop.UNKNOWN_PEER] == 1)
    await rig.to_tun(inner(TARGET, client.inside))
    await rig.until(lambda: rig.plane.drops()[Drop.NO_PEER] == 1)
    await rig.expect_passage(other)
    with pytest.raises(KeyError):
        rig.plane.export_peer(client.peer_id)


async def test_a_client_is_handed_over_where_it_is_and_with_the_rights_that_it_has(rig: Rig) -> None:
    client, elsewhere = await rig.udp_client(), await rig.udp_stranger()
    await elsewhere.send(client.packet(TARGET))
    await rig.from_tun()
    narrow = access(("0.0.0.0", Verdict.NO_RULE))
    rig.plane.set_access(client.peer_id, narrow)
    await elsewhere.send(client.packet(TARGET))
    await rig.until(lambda: rig.plane.drops()[Drop.NO_RULE] == 1)
    state = rig.plane.export_peer(client.peer_id)
    assert state.peer.path == elsewhere.path("127.0.0.1")
    assert state.peer.access == narrow
    assert state.traffic.drops == {Drop.NO_RULE: 1}
    rig.plane.import_peer(replace(state, peer=replace(state.peer, access=EVERYTHING)))
    await rig.to_tun(inner(TARGET, client.inside))
    assert client.open(await elsewhere.receive_packet()) == inner(TARGET, client.inside)
    assert rig.plane.traffic(client.peer_id).drops == {Drop.NO_RULE: 1}


async def test_a_client_without_a_key_in_force_is_handed_over_without(rig: Rig) -> None:
    client = await rig.udp_client()
    state = rig.plane.export_peer(client.peer_id)
    rig.plane.import_peer(replace(state, keys=(), sending=None))
    await rig.to_tun(inner(TARGET, client.inside))
    await rig.until(lambda: rig.plane.traffic(client.peer_id).drops == {Drop.NO_KEY: 1})


async def test_a_key_of_which_little_is_known_accepts_only_what_is_new(rig: Rig) -> None:
    client = await rig.udp_client()
    early = [client.packet(TARGET) for _ in range(20)]
    state = rig.plane.export_peer(client.peer_id)
    (key,) = state.keys
    known = KeyState(key.key, greatest_opened=16, opened=b"\x80")  # 16 was accepted, 15 to 9 were not
    rig.plane.import_peer(replace(state, keys=(known,)))
    await rig.expect_drops(client, [*early[:8], early[15]], REPLAY=9)
    await client.send(*early[8:15], *early[16:])
    for _ in range(11):
        await rig.from_tun()


async def test_a_stream_is_kept_in_the_same_plane_and_lost_to_another(
    rig: Rig, successor: Callable[[], Awaitable[Rig]]
) -> None:
    client = await rig.tcp_client()
    await rig.expect_passage(client)
    state = rig.plane.export_peer(client.peer_id)
    rig.plane.import_peer(state)
    await rig.expect_passage(client)
    await rig.to_tun(inner(TARGET, client.inside))
    assert await client.receive() == inner(TARGET, client.inside)
    state = rig.plane.export_peer(client.peer_id)
    after = await successor()
    # Whoever has a stream of the same number there is somebody else.
    stranger, path = await after.tcp_stranger()
    assert path.stream == state.peer.path.stream
    after.plane.import_peer(state)
    await after.to_tun(inner(TARGET, client.inside))
    await after.until(lambda: after.plane.traffic(client.peer_id).drops == {Drop.SEND_FAILED: 1})
    after.plane.send_control(state.peer.path, [b"\x20to nobody"])
    after.plane.close_stream(state.peer.path)
    after.plane.send_control(path, [b"\x20to the stranger"])
    assert await stranger.receive_packet() == b"\x20to the stranger"


async def test_a_state_that_cannot_be_taken_over_leaves_nothing_behind(rig: Rig) -> None:
    client = await rig.udp_client(cipher=Cipher.AES_128_CBC)
    state = rig.plane.export_peer(client.peer_id)
    unknown = replace(state.keys[0], key=replace(state.keys[0].key, auth="MD5"))
    with pytest.raises(LocalError, match="unknown HMAC digest 'MD5'"):
        rig.plane.import_peer(replace(state, keys=(unknown,)))
    with pytest.raises(KeyError):
        rig.plane.import_peer(replace(state, sending=5))
    rig.plane.import_peer(state)
    await rig.expect_passage(client)


async def test_a_worn_key_is_still_worn(rig: Rig) -> None:
    client = await rig.udp_client()
    state = rig.plane.export_peer(client.peer_id)
    (key,) = state.keys
    rig.plane.import_peer(replace(state, keys=(replace(key, sealed_packets=0xFFFF_FFFE),)))
    await down(rig, client, b"the last packet id")
    await rig.to_tun(inner(TARGET, client.inside))
    await rig.until(lambda: rig.plane.traffic(client.peer_id).drops == {Drop.NO_KEY: 1})
    assert await rig.events.wait("worn") == (client.peer_id,)


async def test_no_packet_id_is_used_twice_while_packets_keep_flowing(rig: Rig) -> None:
    client = await rig.udp_client()
    packet_ids = list[bytes]()

    async def feed() -> None:
        while True:
            await rig.to_tun(*[inner(TARGET, client.inside, bytes(200))] * 20)
            await trio.lowlevel.checkpoint()

    async def collect() -> None:
        while True:
            packet_ids.append((await client.receive_packet())[4:8])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        nursery.start_soon(collect)
        for handover in range(100):
            await rig.until(lambda: len(packet_ids) > handover * 20)  # noqa: B023 - it is called at once
            rig.plane.import_peer(rig.plane.export_peer(client.peer_id))
        nursery.cancel_scope.cancel()
    assert len(set(packet_ids)) == len(packet_ids)
    assert rig.plane.traffic(client.peer_id).egress_packets >= len(packet_ids)
