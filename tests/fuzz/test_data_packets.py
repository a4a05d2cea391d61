"""Data packets and what is inside them: forged, replayed, or sealed with the right key around anything at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.strategies import damaged, rubbish
from tests.unit.tunnel.plane_suite.rig import EVERYTHING, Events, inner, settings, socket_device
from tunnel.data_channel import Replayed, opening_key, sealing_key
from tunnel.data_keys import Cipher, DataKey, split_key_block
from tunnel.errors import BadPacket
from tunnel.inner_packet import OCC_MAGIC, PING, clamp_mss, find_fault, own_message
from tunnel.plane import Drop, Path, Peer, Transport
from tunnel.pyplane import PythonDataPlane
from tunnel.tun import TunDevice
from tunnel.wire import Opcode, opcode_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunnel.data_channel import SealingKey

BLOCK = bytes(range(256))
CLIENT, TARGET = "10.80.0.7", "192.0.2.1"
FIRST_SOURCE = (("198.51.100.7", 4000), b"")

every_cipher = pytest.mark.parametrize("cipher", Cipher)
sources = st.sampled_from([FIRST_SOURCE, (("198.51.100.8", 1), b"")])

headers = st.builds(
    lambda first, length, fragment, protocol, source, destination: (
        bytes([first, 0])
        + length.to_bytes(2, "big")
        + bytes(2)
        + fragment.to_bytes(2, "big")
        + bytes([64, protocol, 0, 0])
        + source
        + destination
    ),
    st.one_of(st.integers(0x44, 0x4F), st.integers(0, 255)),
    st.one_of(st.integers(20, 100), st.integers(0, 0xFFFF)),
    st.one_of(st.just(0), st.integers(0, 0xFFFF)),
    st.sampled_from([6, 6, 17, 1, 255]),
    st.one_of(st.just(bytes([10, 80, 0, 7])), st.binary(min_size=4, max_size=4)),
    st.one_of(st.just(bytes([192, 0, 2, 1])), st.binary(min_size=4, max_size=4)),
)
bodies = st.one_of(st.binary(max_size=100), st.integers(0, 2000).map(bytes))


@st.composite
def inner_packets(draw: st.DrawFn) -> bytes:
    """Headers whose fields contradict each other, or agree, before anything; and OpenVPN's own messages, damaged."""
    packet = draw(st.one_of(st.builds(bytes.__add__, headers, bodies), damaged(PING), damaged(OCC_MAGIC + b"\x06")))
    if len(packet) >= 20 and draw(st.booleans()):
        packet = packet[:2] + len(packet).to_bytes(2, "big") + packet[4:]
    return packet or b"\x00"


def pair(cipher: Cipher, key_id: int = 0, peer_id: int | None = 7) -> tuple[SealingKey, DataKey]:
    """A client's sealing key, and the gateway's side of it."""
    send, receive = split_key_block(BLOCK, server=False)
    sealing = sealing_key(DataKey(key_id, cipher, send, receive), peer_id=peer_id)
    send, receive = split_key_block(BLOCK, server=True)
    return sealing, DataKey(key_id, cipher, send, receive)


def behind_head(packet: bytes) -> bytes:
    """What is authenticated where the head is not: with the CBC ciphers, and in DATA_V1."""
    return packet[4:] if packet and opcode_of(packet) == Opcode.DATA_V2 else packet[1:]


@every_cipher
@given(data=st.data(), peer_id=st.sampled_from([None, 7]))
def test_only_what_was_sealed_is_opened_and_only_once(cipher: Cipher, data: st.DataObject, peer_id: int | None) -> None:
    """A packet opens to its payload, once; everything else is `BadPacket`, and does not stop the next good one."""
    sealing, key = pair(cipher, peer_id=peer_id)
    opening = opening_key(key)
    payload = data.draw(st.binary(min_size=1, max_size=100))
    packet = sealing.seal(payload)
    forgery = data.draw(st.one_of(damaged(packet), rubbish()))
    head_counts = cipher.is_aead and peer_id is not None
    same = forgery == packet if head_counts else behind_head(forgery) == behind_head(packet)
    if not same:
        with pytest.raises(BadPacket):
            opening.open_untrusted(forgery)
    assert opening.open_untrusted(packet) == payload
    with pytest.raises(Replayed):
        opening.open_untrusted(packet)
    assert opening.open_untrusted(sealing.seal(b"next")) == b"next"


@given(packet=inner_packets(), limit=st.integers(536, 9000))
def test_inner_packets_are_sound_or_have_a_named_fault(packet: bytes, limit: int) -> None:
    """The header checks never raise; clamping changes a sound packet in at most four octets, and never its length."""
    fault = find_fault(packet)
    assert fault in (None, Drop.NOT_IPV4, Drop.BAD_HEADER)
    own_message(packet)
    if fault is None:
        clamped = clamp_mss(packet, limit)
        assert len(clamped) == len(packet)
        changed = [at for at, pair in enumerate(zip(packet, clamped, strict=True)) if pair[0] != pair[1]]
        assert len(changed) <= 4
        assert clamp_mss(clamped, limit) == clamped


@given(options=st.binary(max_size=40), limit=st.integers(536, 9000), offset=st.integers(0, 255))
def test_clamping_reads_any_garbage_in_the_options_of_a_syn(options: bytes, limit: int, offset: int) -> None:
    """TCP options of any length and kind, with any data offset, leave a packet of the same length."""
    segment = bytes(12) + bytes([offset, 0x02]) + bytes(6) + options
    packet = inner(CLIENT, TARGET, segment, protocol=6)
    assert len(clamp_mss(packet, limit)) == len(packet)


class Rig:
    """A plane that nobody runs: packets are handed to its functions, and come out of its device."""

    def __init__(self) -> None:
        plane_end, self.tun = socket_device()
        chosen = settings(transports=frozenset({Transport.UDP}))
        self.plane = PythonDataPlane.open(chosen, open_device=lambda name, **_: TunDevice(name, 0, plane_end))
        self.events = Events()
        self.plane._ingress.events = self.events
        self.sealing, key = pair(Cipher.AES_256_GCM)
        path = Path(Transport.UDP, FIRST_SOURCE[0], local="127.0.0.1")
        self.plane.add_peer(Peer(7, path, bytes([10, 80, 0, 7]), EVERYTHING, 60, 240, mss=1300))
        self.plane.install_key(7, key)
        self.plane.activate_key(7, 0)

    def written(self) -> Iterator[bytes]:
        """What the plane has written to its device."""
        while True:
            try:
                yield self.tun.recv(65535)
            except BlockingIOError:
                return

    def close(self) -> None:
        self.plane.close()
        self.tun.close()


async def test_strangers_move_nothing_but_counters() -> None:
    """Packets that nobody sealed reach neither the device nor a peer: each goes up as control, or is counted."""
    rig = Rig()
    dropped = rig.plane.drops()
    before = sum(dropped.values())

    @given(packet=st.one_of(rubbish(), damaged(rig.sealing.seal(inner(CLIENT, TARGET)))), source=sources)
    def hand_in(packet: bytes, source: tuple[tuple[str, int], bytes]) -> None:
        nonlocal before
        if packet[:24] == bytes([9 << 3, 0, 0, 7, 0, 0, 0, 1]):
            return
        control = len(rig.events.of("control"))
        rig.plane._ingress.from_udp(packet, source)
        after = sum(rig.plane.drops().values())
        went_up = len(rig.events.of("control")) - control
        assert (after - before) + went_up == 1 or list(rig.written())
        if went_up:
            assert packet[0] >> 3 in set(Opcode)
        before = after

    hand_in()
    assert rig.plane.traffic(7).ingress_packets <= 1
    rig.close()


async def test_whatever_a_client_seals_only_its_own_sound_packets_leave_the_device() -> None:
    """Of authentic packets only IPv4 from the peer's own address to one host, within the MTU, reaches the device."""
    rig = Rig()

    @given(payload=inner_packets(), source=sources)
    def hand_in(payload: bytes, source: tuple[tuple[str, int], bytes]) -> None:
        before = sum(rig.plane.drops().values())
        rig.plane._peers.by_id[7].moves = 0
        rig.plane._ingress.from_udp(rig.sealing.seal(payload), source)
        written = list(rig.written())
        dropped = sum(rig.plane.drops().values()) - before
        swallowed = own_message(payload) is not None
        assert len(written) + dropped + swallowed == 1
        for packet in written:
            assert find_fault(packet) is None
            assert len(packet) <= 1500
            assert packet[12:16] == bytes([10, 80, 0, 7])
            assert 0 < packet[16] < 224
            assert packet[16] != 127

    hand_in()
    traffic = rig.plane.traffic(7)
    assert sum(traffic.drops.values()) <= sum(rig.plane.drops().values())
    rig.close()


async def test_whatever_the_host_routes_into_the_tunnel_is_sealed_or_counted() -> None:
    """Packets out of the device raise nothing, and are sealed for the owner of their destination or dropped."""
    rig = Rig()

    @given(packet=st.one_of(inner_packets(), st.binary(min_size=1, max_size=40)))
    def hand_in(packet: bytes) -> None:
        moved = rig.plane.traffic(7).egress_packets + sum(rig.plane.drops().values())
        rig.plane._egress.from_tun(packet)
        rig.plane._egress.flush()
        assert rig.plane.traffic(7).egress_packets + sum(rig.plane.drops().values()) >= moved + 1

    hand_in()
    rig.plane._egress.from_tun(inner(TARGET, CLIENT, os.urandom(10)))
    await trio.lowlevel.checkpoint()
    rig.close()
