"""A flood from strangers against an endpoint with its real data plane: counters move, and nothing else."""

from __future__ import annotations

import os
import random
import socket
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.fuzz.site import Site, connect_and_send
from tests.unit.tunnel.knocking import Client, client
from tests.unit.tunnel.plane_suite.rig import DEADLINE_S
from tunnel.data_channel import sealing_key
from tunnel.data_keys import Cipher, DataKey, split_key_block
from tunnel.front_door import Protection
from tunnel.plane import Drop
from tunnel.pyplane import PythonDataPlane
from tunnel.stream_framing import frame
from tunnel.wire import MAX_CONTROL_PACKET, Opcode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunnel.pyplane.udp_address import Source

FLOOD = 1_000_000
BATCH = 50_000
"""Datagrams between two looks at the memory."""
KINDS = 5_000
GROWTH_OCTETS = 8 << 20
"""Over a million datagrams: to keep just one small object of each would take six times that."""
WINDOW_S = 10
STRANGERS = 200
BURST = 500
"""Datagrams through the sockets between two turns of everything else."""


def hostile_packets(dice: random.Random) -> list[bytes]:
    """Of every opcode: truncated, oversized, random and damaged packets; and genuine ones, to be replayed."""
    genuine = [packet for protection in Protection for packet in genuine_packets(client(protection))]
    packets = [bytes([opcode << 3 | key_id]) for opcode in range(32) for key_id in range(8)]
    packets += [packet[:size] for packet in genuine for size in range(0, len(packet), 7)]
    packets += [bytes([opcode << 3]) + bytes(65_000) for opcode in range(32)]
    packets += [bytes([opcode << 3]) + dice.randbytes(MAX_CONTROL_PACKET + 1) for opcode in range(32)]
    packets += genuine
    while len(packets) < KINDS:
        packet = bytearray(dice.choice(genuine))
        if dice.random() < 0.5:
            packet[dice.randrange(len(packet))] ^= dice.randrange(1, 256)
        else:
            packet[1:] = dice.randbytes(dice.randrange(200))
            packet[0] = dice.randrange(256)
        packets.append(bytes(packet))
    dice.shuffle(packets)
    return packets


def genuine_packets(sender: Client) -> Iterator[bytes]:
    """What a real client sent once, to another server, or to this one long ago."""
    yield sender.reset()
    cookie = bytes(range(1, 9))
    for opcode in (None, Opcode.CONTROL_V1, Opcode.ACK_V1, Opcode.SOFT_RESET_V1):
        yield sender.build(sender.returning(cookie, opcode))
    send, receive = split_key_block(bytes(256), server=False)
    for peer_id in (None, 0, 7, 0xFFFFFF):
        yield sealing_key(DataKey(0, Cipher.AES_256_GCM, send, receive), peer_id=peer_id).seal(bytes(100))


def resident_octets() -> int:
    """What this process holds of the host's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sources(dice: random.Random, count: int) -> list[Source]:
    """Addresses from everywhere, as spoofed ones look; all of them loopback, where answers go nowhere."""
    return [
        ((str(IPv4Address(dice.randrange(0x7F010000, 0x7FFFFFFF))), dice.randrange(1, 65536)), b"")
        for _ in range(count)
    ]


async def test_a_million_hostile_datagrams_cost_no_memory_and_hold_up_nobody() -> None:
    dice = random.Random(7)
    packets = hostile_packets(dice)
    site = Site()
    async with site.running():
        assert isinstance(site.plane, PythonDataPlane)
        take, flush = site.plane._ingress.from_udp, site.plane._egress.flush
        resident = []
        for _ in range(FLOOD // BATCH):
            for packet, source in zip(dice.choices(packets, k=BATCH), sources(dice, BATCH // 50) * 50, strict=True):
                take(packet, source)
            flush()
            site.skipped_s += 1
            await trio.lowlevel.checkpoint()
            resident.append(resident_octets())
        assert resident[-1] - resident[1] < GROWTH_OCTETS
        site.assert_untouched()
        windows = FLOOD // BATCH // WINDOW_S + 1
        answered = 2 * windows * site.spec.handshake.max_stateless_replies  # with a key, and without
        assert FLOOD - answered <= site.counted <= FLOOD
        site.skipped_s += WINDOW_S
        assert (await connect_and_send(site))[16:20] == bytes([10, 20, 0, 9])


class Strangers:
    """Sockets all over loopback, that send without waiting for anything."""

    def __init__(self, dice: random.Random, port: int) -> None:
        self._dice = dice
        self._socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(STRANGERS)]
        for sock in self._socks:
            sock.bind((str(IPv4Address(dice.randrange(0x7F010000, 0x7FFFFFFF))), 0))
            sock.connect(("127.0.0.1", port))

    def close(self) -> None:
        for sock in self._socks:
            sock.close()

    def send(self, packets: list[bytes], count: int) -> None:
        for sock, packet in zip(
            self._dice.choices(self._socks, k=count), self._dice.choices(packets, k=count), strict=True
        ):
            sock.send(packet)


def found_no_room(socks: Sequence[socket.socket]) -> int:
    """Datagrams for which these sockets had none."""
    inodes = {str(os.fstat(sock.fileno()).st_ino) for sock in socks}
    lines = (line.split() for line in Path("/proc/net/udp").read_text().splitlines())
    return sum(int(line[-1]) for line in lines if line[9] in inodes)


@pytest.mark.native
async def test_a_million_hostile_datagrams_through_the_sockets_cost_no_memory_and_move_only_counters() -> None:
    from tunnel.nativeplane.plane import NativeDataPlane

    dice = random.Random(9)
    packets = [packet for packet in hostile_packets(dice) if packet]
    site = Site(plane="native", workers=3)
    async with site.running():
        assert isinstance(site.plane, NativeDataPlane)
        workers = site.plane._udp[:-1]  # what control's own socket has no room for, the plane counts itself
        with closing(Strangers(dice, site.plane.port)) as strangers:

            def accounted() -> int:
                return site.counted + site.plane.facts().lost_control_packets + found_no_room(workers)

            resident = []
            for _ in range(FLOOD // BATCH):
                for _ in range(BATCH // BURST):
                    strangers.send(packets, BURST)
                    await trio.lowlevel.checkpoint()
                site.skipped_s += 1
                resident.append(resident_octets())
            windows = FLOOD // BATCH // WINDOW_S + 1
            answered = 2 * windows * site.spec.handshake.max_stateless_replies
            with trio.fail_after(DEADLINE_S):
                while accounted() < FLOOD - answered:  # noqa: ASYNC110 - a plane has no event for its counters
                    await trio.sleep(0.01)
            assert accounted() <= FLOOD
        assert resident[-1] - resident[FLOOD // BATCH // 2] < GROWTH_OCTETS
        site.assert_untouched()
        assert site.plane.drops()[Drop.UNKNOWN_PEER] > FLOOD // 100
        site.skipped_s += WINDOW_S
        assert (await connect_and_send(site))[16:20] == bytes([10, 20, 0, 9])


@pytest.mark.parametrize("plane", ["python", pytest.param("native", marks=pytest.mark.native)])
async def test_a_flood_through_the_sockets_holds_up_nobody(plane: str) -> None:
    dice = random.Random(8)
    packets = [packet for packet in hostile_packets(dice) if packet]
    site = Site(plane=plane)
    async with site.running():
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for packet in packets:
                await sock.sendto(packet, ("127.0.0.1", site.plane.port))
        for start in range(0, len(packets), 50):
            stream = await trio.open_tcp_stream("127.0.0.1", site.plane.port)
            async with stream:
                try:
                    await stream.send_all(b"".join(map(frame, packets[start : start + 50])))
                except trio.BrokenResourceError:
                    continue  # it has had enough of this stream
        site.skipped_s += WINDOW_S
        assert (await connect_and_send(site))[16:20] == bytes([10, 20, 0, 9])
        assert [record.common_name for record in site.log.records if record.common_name] == ["ana"]
