"""Packets that go their way: both transports, both directions, client to client, alone and in bulk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.plane_suite.rig import Rig, access, inner, mss_of, syn
from tunnel.data_keys import Cipher
from tunnel.inner_packet import OCC_EXIT, OCC_MAGIC, PING
from tunnel.plane import Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.unit.tunnel.plane_suite.rig import Client

TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp"])
TARGET = "192.0.2.1"


async def connect(rig: Rig, transport: str, **about: object) -> Client:
    return await (rig.udp_client(**about) if transport == "udp" else rig.tcp_client(**about))  # type: ignore[arg-type]


@TRANSPORTS
@pytest.mark.parametrize("data_v2", [True, False], ids=["v2", "v1"])
@pytest.mark.parametrize("cipher", Cipher, ids=lambda cipher: cipher.value)
async def test_a_packet_passes_both_ways_and_is_counted(
    rig: Rig, transport: str, cipher: Cipher, data_v2: bool
) -> None:
    client = await connect(rig, transport, cipher=cipher, data_v2=data_v2)
    up = inner(client.inside, TARGET, b"up")
    down = inner(TARGET, client.inside, b"down, and longer")
    await client.send(client.seal(up))
    assert await rig.from_tun() == up
    await rig.to_tun(down)
    packet = await client.receive_packet()
    assert packet[0] == (0x48 if data_v2 else 0x30)
    assert client.open(packet) == down
    await rig.expect_traffic(client, ingress_packets=1, ingress_bytes=len(up), egress_packets=1, egress_bytes=len(down))
    assert rig.plane.traffic(client.peer_id).drops == {}


@TRANSPORTS
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
async def test_bulk_of_all_sizes_arrives_whole_and_in_order(
    start: Callable[..., Awaitable[Rig]], transport: str, offload: bool
) -> None:
    rig = await start(udp_offload=offload)
    client = await connect(rig, transport)
    sizes = [1400] * 150 + [20, 1400, 1399, 1400, 1, 0, 500, 500, 499, 1472] + [0] * 70
    # As much at a time as the smallest socket buffers hold.
    for start_at in range(0, len(sizes), 50):
        batch = sizes[start_at : start_at + 50]
        packets = [inner(TARGET, client.inside, os.urandom(size)) for size in batch]
        await rig.to_tun(*packets)
        assert [await client.receive() for _ in packets] == packets
        packets = [inner(client.inside, TARGET, os.urandom(size)) for size in batch]
        await client.send(*map(client.seal, packets))
        assert [await rig.from_tun() for _ in packets] == packets


async def test_packets_of_many_clients_in_one_batch_reach_each(rig: Rig) -> None:
    clients = [await rig.udp_client(), await rig.tcp_client(), await rig.udp_client()]
    for number in range(10):
        await rig.to_tun(*(inner(TARGET, client.inside, bytes([number])) for client in clients))
    for client in clients:
        for number in range(10):
            assert await client.receive() == inner(TARGET, client.inside, bytes([number]))


@pytest.mark.parametrize("sender", ["udp", "tcp"])
@pytest.mark.parametrize("receiver", ["udp", "tcp"])
async def test_client_to_client_never_touches_the_device(rig: Rig, sender: str, receiver: str) -> None:
    one, two = await connect(rig, sender), await connect(rig, receiver)
    packet = inner(one.inside, two.inside, b"hello")
    await one.send(one.seal(packet))
    assert await two.receive() == packet
    await rig.expect_passage(one)
    await rig.expect_traffic(one, ingress_packets=2)
    await rig.expect_traffic(two, egress_packets=1)


async def test_the_gateways_own_address_is_the_hosts(rig: Rig) -> None:
    client = await rig.udp_client()
    await rig.expect_passage(client, "10.80.0.1")


async def test_an_mss_is_clamped_both_ways_and_between_clients(rig: Rig) -> None:
    one, two = await rig.udp_client(mss=1400), await rig.udp_client(mss=1200)
    await one.send(one.seal(syn(one.inside, TARGET, 1460)))
    assert mss_of(await rig.from_tun()) == 1400
    await rig.to_tun(syn(TARGET, one.inside, 1460))
    assert mss_of(await one.receive()) == 1400
    await one.send(one.seal(syn(one.inside, two.inside, 1460)))
    assert mss_of(await two.receive()) == 1200


async def test_without_a_limit_syns_stay_as_they_are(rig: Rig) -> None:
    client = await rig.udp_client(mss=0)
    await client.send(client.seal(syn(client.inside, TARGET, 8960)))
    assert mss_of(await rig.from_tun()) == 8960


@TRANSPORTS
async def test_openvpns_own_messages_end_here(rig: Rig, transport: str) -> None:
    client = await connect(rig, transport)
    own = [PING, OCC_MAGIC + b"\x00", OCC_MAGIC + b"\x01V4\x00", OCC_MAGIC]
    await rig.expect_drops(client, map(client.seal, own))
    await rig.expect_traffic(client, ingress_packets=1)
    await client.send(client.seal(OCC_EXIT))
    assert await rig.events.wait("exited") == (client.peer_id,)


async def test_fragments_and_options_pass(rig: Rig) -> None:
    client = await rig.udp_client(mss=1000)
    later = bytearray(inner(client.inside, TARGET, bytes(40), protocol=6))
    later[6:8] = (185).to_bytes(2, "big")
    plain = inner(client.inside, TARGET)
    options = b"\x46" + plain[1:2] + (28).to_bytes(2, "big") + plain[4:] + b"\x01\x01\x01\x00data"
    for packet in (bytes(later), options):
        await client.send(client.seal(packet))
        assert await rig.from_tun() == packet


async def test_a_new_table_holds_from_the_next_packet_on(rig: Rig) -> None:
    client = await rig.udp_client()
    await rig.expect_passage(client)
    rig.plane.set_access(client.peer_id, access(("192.0.2.2", Verdict.FORWARD)))
    await client.send(client.packet(TARGET))
    await rig.until(lambda: sum(rig.plane.traffic(client.peer_id).drops.values()) == 1)
    await rig.expect_passage(client, "192.0.2.2")


@TRANSPORTS
async def test_a_key_change_loses_nothing(rig: Rig, transport: str) -> None:
    client = await connect(rig, transport)
    for key_id in (1, 2, 7, 1):
        late = client.packet(TARGET, b"under the old key")
        rig.plane.install_key(client.peer_id, client.make_key(key_id, Cipher.AES_128_GCM))
        await rig.to_tun(inner(TARGET, client.inside))
        assert (await client.receive_packet())[0] & 7 != key_id
        await rig.expect_passage(client)
        await client.send(late)
        assert (await rig.from_tun())[20:] == b"under the old key"
        rig.plane.activate_key(client.peer_id, key_id)
        await rig.to_tun(inner(TARGET, client.inside))
        assert (await client.receive_packet())[0] & 7 == key_id


async def test_the_same_key_installed_twice_repeats_no_nonce(rig: Rig) -> None:
    client = await rig.udp_client()
    key = client.make_key(3, Cipher.AES_256_GCM)
    for _ in range(2):
        rig.plane.install_key(client.peer_id, key)
        rig.plane.activate_key(client.peer_id, 3)
        await rig.to_tun(inner(TARGET, client.inside))
        await client.receive()


async def test_traffic_is_said_when_a_peer_goes(rig: Rig) -> None:
    client = await rig.udp_client()
    await rig.expect_passage(client)
    traffic = rig.plane.remove_peer(client.peer_id)
    assert traffic.ingress_packets == 1
    with pytest.raises(KeyError):
        rig.plane.traffic(client.peer_id)
    # Its id and address are free again.
    client = await rig.udp_client()
    await rig.expect_passage(client)
