"""Packets that go no further: each is dropped for its own cause, is counted there, and disturbs nobody."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.plane_suite.rig import EVERYTHING, Rig, access, inner
from tunnel.data_keys import Cipher
from tunnel.inner_packet import PING
from tunnel.plane import Drop, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TARGET = "192.0.2.1"
CONTROL_OPCODES = (3, 4, 5, 7, 8, 10, 11)


@pytest.mark.parametrize("opcode", [opcode for opcode in range(32) if opcode not in (*CONTROL_OPCODES, 6, 9)])
async def test_an_opcode_that_does_not_exist(rig: Rig, opcode: int) -> None:
    client = await rig.udp_client()
    await rig.expect_drops(client, [bytes([opcode << 3]) + bytes(30)], NOT_OPENVPN=1)
    client = await rig.tcp_client()  # type: ignore[assignment]
    await rig.expect_drops(client, [bytes([opcode << 3]) + bytes(30)], NOT_OPENVPN=1)


async def test_a_packet_too_short_to_be_anything(rig: Rig) -> None:
    client = await rig.udp_client()
    await rig.expect_drops(client, [b"", b"\x48", b"\x48\x00", b"\x48\x00\x00"], NOT_OPENVPN=4)
    await rig.expect_drops(client, [b"\x48\x00\x00\x07", client.seal(PING)[:24]], AUTHENTICATION=2)


async def test_a_peer_id_that_nobody_has(rig: Rig) -> None:
    client = await rig.udp_client()
    packet = client.packet(TARGET)
    await rig.expect_drops(client, [packet[:1] + b"\x00\x77\x77" + packet[4:]], UNKNOWN_PEER=1)


async def test_data_v1_from_an_address_that_nobody_has(rig: Rig) -> None:
    client, stranger = await rig.udp_client(data_v2=False), await rig.udp_stranger()
    await stranger.send(client.packet(TARGET))
    await rig.until(lambda: rig.plane.drops()[Drop.UNKNOWN_PEER] == 1)
    await rig.expect_passage(client)


async def test_data_v2_without_a_peer_id_is_found_by_its_address(rig: Rig) -> None:
    client = await rig.udp_client(data_v2=False)
    client.peer_id, client.data_v2 = 0xFFFFFF, True
    key = client.make_key(1, Cipher.AES_256_GCM)
    rig.plane.install_key(7, key)
    await rig.expect_passage(client)


async def test_a_key_id_that_the_peer_does_not_have(rig: Rig) -> None:
    client = await rig.udp_client()
    client.make_key(5, Cipher.AES_256_GCM)
    packet = client.packet(TARGET)
    client.key_id = 0
    await rig.expect_drops(client, [packet], UNKNOWN_KEY=1)
    await rig.expect_traffic(client, drops={Drop.UNKNOWN_KEY: 1})


async def test_a_key_that_was_dropped(rig: Rig) -> None:
    client = await rig.udp_client()
    rig.new_key(client, 1)
    client.key_id = 0
    late = client.packet(TARGET)
    rig.plane.drop_key(client.peer_id, 0)
    rig.plane.drop_key(client.peer_id, 0)
    client.key_id = 1
    await rig.expect_drops(client, [late], UNKNOWN_KEY=1)


async def test_forged_and_repeated_packets(rig: Rig) -> None:
    client = await rig.udp_client()
    packet = client.packet(TARGET)
    forged = packet[:-1] + bytes([packet[-1] ^ 1])
    await rig.expect_drops(client, [forged, forged], AUTHENTICATION=2)
    await client.send(packet)
    await rig.from_tun()
    await rig.expect_drops(client, [packet, packet], REPLAY=2)


async def test_another_clients_key_opens_nothing(rig: Rig) -> None:
    one, two = await rig.udp_client(), await rig.udp_client()
    packet = one.packet(TARGET)
    await rig.expect_drops(two, [packet[:1] + two.peer_id.to_bytes(3, "big") + packet[4:]], AUTHENTICATION=1)


PLAIN = inner("10.80.0.7", TARGET, b"payload")


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        pytest.param(b"\x60" + bytes(60), Drop.NOT_IPV4, id="IPv6"),
        pytest.param(b"\x00", Drop.NOT_IPV4, id="one octet"),
        pytest.param(PING + b"\x00", Drop.NOT_IPV4, id="almost a ping"),
        pytest.param(PLAIN[:19], Drop.BAD_HEADER, id="half a header"),
        pytest.param(b"\x44" + PLAIN[1:], Drop.BAD_HEADER, id="header too short"),
        pytest.param(b"\x4f" + PLAIN[1:], Drop.BAD_HEADER, id="header longer than the packet"),
        pytest.param(PLAIN[:-1], Drop.BAD_HEADER, id="cut short"),
        pytest.param(PLAIN + b"\x00", Drop.BAD_HEADER, id="something behind it"),
        pytest.param(inner("10.80.0.8", TARGET), Drop.SPOOFED_SOURCE, id="a neighbour's source"),
        pytest.param(inner("10.80.0.1", TARGET), Drop.SPOOFED_SOURCE, id="the gateway's source"),
        pytest.param(inner("127.0.0.1", TARGET), Drop.SPOOFED_SOURCE, id="a loopback source"),
        pytest.param(inner("10.80.0.7", "224.0.0.251"), Drop.MULTICAST, id="multicast"),
        pytest.param(inner("10.80.0.7", "255.255.255.255"), Drop.MULTICAST, id="broadcast"),
        pytest.param(inner("10.80.0.7", "10.80.0.255"), Drop.MULTICAST, id="broadcast of the range"),
        pytest.param(inner("10.80.0.7", "127.0.0.1"), Drop.MULTICAST, id="loopback"),
        pytest.param(inner("10.80.0.7", "0.0.0.0"), Drop.MULTICAST, id="unspecified"),
        pytest.param(inner("10.80.0.7", TARGET, bytes(1481)), Drop.OVERSIZE, id="too large"),
        pytest.param(inner("10.80.0.7", "10.80.0.200"), Drop.NO_PEER, id="nobody has that address"),
    ],
)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_inner_packets_that_must_not_pass(rig: Rig, transport: str, payload: bytes, cause: Drop) -> None:
    client = await (rig.udp_client() if transport == "udp" else rig.tcp_client())
    await rig.expect_drops(client, [client.seal(payload)], **{cause.name: 1})
    await rig.expect_traffic(client, drops={cause: 1}, ingress_packets=1)


async def test_the_largest_packet_passes(rig: Rig) -> None:
    client = await rig.udp_client()
    packet = inner(client.inside, TARGET, bytes(1480))
    await client.send(client.seal(packet))
    assert await rig.from_tun() == packet


async def test_the_access_table_decides_at_its_exact_borders(rig: Rig) -> None:
    table = access(("10.20.0.0", Verdict.FORWARD), ("10.20.1.0", Verdict.NO_RULE), ("10.20.2.0", Verdict.NO_ROUTE))
    client = await rig.udp_client(access=table)
    for allowed in ("10.20.0.0", "10.20.0.255"):
        await client.send(client.packet(allowed))
        assert (await rig.from_tun())[16:20][3] == int(allowed.rpartition(".")[2])
    refused = ["10.19.255.255", "10.20.1.0", "10.20.1.255", "10.20.2.0", "223.255.255.255", "10.80.0.8"]
    await client.send(*map(client.packet, refused))
    await client.send(client.packet("10.20.0.1"))
    assert (await rig.from_tun())[16:20] == bytes([10, 20, 0, 1])
    await rig.expect_traffic(client, drops={Drop.NO_ROUTE: 4, Drop.NO_RULE: 2})


async def test_a_receiver_without_a_key_gets_nothing(rig: Rig) -> None:
    sender, receiver = await rig.udp_client(), await rig.udp_client()
    rig.plane.drop_key(receiver.peer_id, 0)
    await rig.expect_drops(sender, [sender.packet(receiver.inside)], NO_KEY=1)
    await rig.expect_traffic(receiver, drops={Drop.NO_KEY: 1})


async def test_what_the_host_sends_to_nobody(rig: Rig) -> None:
    client = await rig.udp_client()
    await rig.to_tun(inner(TARGET, "10.80.0.200"), b"\x60" + bytes(47), b"\x45", inner(TARGET, client.inside))
    assert await client.receive() == inner(TARGET, client.inside)
    drops = rig.plane.drops()
    assert (drops[Drop.NO_PEER], drops[Drop.NOT_IPV4], drops[Drop.BAD_HEADER]) == (1, 1, 1)


async def test_rubbish_moves_nothing_but_counters(rig: Rig) -> None:
    rng = random.Random(1)
    client, stranger = await rig.udp_client(), await rig.udp_stranger()
    heads = [b"\x48\x00\x00\x07", b"\x49\x00\x00\x07", b"\x30", b"\x48", b""]
    rubbish = [rng.choice(heads) + rng.randbytes(rng.randrange(80)) for _ in range(2000)]
    for packet in rubbish:
        await stranger.send(packet)
        # Lets the plane take its turns, so that the socket's buffer cannot overflow.
        await client.send(packet)
    await rig.expect_passage(client)
    # Rubbish goes to any worker, the packet that passed to its own.
    await rig.until(lambda: sum(rig.plane.drops().values()) + len(rig.events.of("control")) == 4000)
    assert {event[0] for event in rig.events.seen} <= {"control"}
    await rig.expect_traffic(client, ingress_packets=1)


async def test_one_clients_table_does_not_leak_into_anothers(start: Callable[..., Awaitable[Rig]]) -> None:
    rig = await start()
    free, bound = await rig.udp_client(access=EVERYTHING), await rig.udp_client(access=access())
    await rig.expect_passage(free)
    await bound.send(bound.packet(TARGET))
    await rig.until(lambda: rig.plane.traffic(bound.peer_id).drops == {Drop.NO_ROUTE: 1})
    await rig.expect_passage(free)
