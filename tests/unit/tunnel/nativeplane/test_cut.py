from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from tests.unit.tunnel.nativeplane.offload import cut
from tests.unit.tunnel.nativeplane.packets import (
    ECN,
    NONE,
    TCPV4,
    TCPV6,
    TIMESTAMPS,
    UFO,
    USO,
    checksum_place,
    frame,
    headers_size,
    naive_cut,
    naive_sum,
    partial,
    super_frame,
    tcp,
    udp,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

ip_options = st.sampled_from(([], [], [b"\x01"] * 4, [b"\x01"] * 40))
tcp_options = st.sampled_from(([], TIMESTAMPS, [("SAck", (1, 2, 3, 4))], [("NOP", None)] * 40))
flags = st.sets(st.sampled_from("FPUEC")).map(lambda some: "A" + "".join(sorted(some)))


@given(
    size=st.integers(1, 3000),
    count=st.integers(1, 6),
    options=tcp_options,
    around=ip_options,
    flags=flags,
    sequence=st.integers(0, 2**32 - 1),
    number=st.integers(0, 65_535),
    hint=st.integers(0, 65_535),
)
def test_tcp_is_cut_as_the_kernel_would(
    *, size: int, count: int, options: Any, around: Any, flags: str, sequence: int, number: int, hint: int
) -> None:
    packet = tcp(size, options=options, flags=flags, seq=sequence, ip={"id": number, "options": around})
    segment, ecn = -(-size // count), ECN * (number & 1)
    assert cut(super_frame(packet, segment, ecn=ecn, hint=hint)) == naive_cut(packet, segment)


@given(size=st.integers(1, 3000), count=st.integers(1, 6), around=ip_options, number=st.integers(0, 65_535))
def test_udp_is_cut_as_the_kernel_would(*, size: int, count: int, around: Any, number: int) -> None:
    packet, segment = udp(size, ip={"id": number, "options": around}), -(-size // count)
    assert cut(super_frame(packet, segment)) == naive_cut(packet, segment)


@pytest.mark.parametrize("packet", [tcp(65_483), udp(65_507)])
@pytest.mark.parametrize("segment", [536, 1348, 65_483])
def test_the_longest_packet_is_cut(packet: bytes, segment: int) -> None:
    assert cut(super_frame(packet, segment)) == naive_cut(packet, segment)


@pytest.mark.parametrize("packet", [tcp(100), udp(100)])
@pytest.mark.parametrize("segment", [100, 101, 65_535])
def test_what_fits_one_segment_is_one(packet: bytes, segment: int) -> None:
    assert cut(super_frame(packet, segment)) == [packet]


def test_a_checksum_that_would_be_nothing_is_said_differently_in_udp() -> None:
    # The last two octets are chosen so that everything sums up to 0xFFFF.
    packet = udp(100)
    summed = int.from_bytes(packet[26:28], "big")
    zero = udp(0, data=packet[28:-2] + ((int.from_bytes(packet[-2:], "big") + summed) % 0xFFFF).to_bytes(2, "big"))
    assert zero[26:28] == b"\xff\xff"
    assert cut(super_frame(zero, 100)) == [zero]
    assert cut(frame(partial(zero), checksum=checksum_place(zero))) == [zero]


@given(size=st.integers(0, 2000), around=ip_options, make=st.sampled_from((tcp, udp)))
def test_a_checksum_that_was_left_to_us_is_finished(size: int, around: Any, make: Any) -> None:
    packet = make(size, ip={"options": around})
    assert cut(frame(partial(packet), checksum=checksum_place(packet))) == [packet]


def test_a_checksum_of_ipv6_is_finished_too() -> None:
    packet = bytes(IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1, dport=2) / Raw(b"hello"))
    pseudo = packet[8:40] + struct.pack(">II", len(packet) - 40, 17)
    left = packet[:46] + naive_sum(pseudo).to_bytes(2, "big") + packet[48:]
    assert cut(frame(left, checksum=(40, 6))) == [packet]


@pytest.mark.parametrize("packet", [tcp(100), udp(100), b"\x60" + bytes(60), b"\x45", b"", b"anything"])
def test_what_needs_no_cutting_passes_as_it_is(packet: bytes) -> None:
    assert cut(frame(packet)) == [packet]
    assert cut(packet, has_header=False) == [packet]


LARGE = partial(tcp(3000))
LARGE_UDP = partial(udp(3000))


def changed(packet: bytes, at: int, *octets: int) -> bytes:
    return packet[:at] + bytes(octets) + packet[at + len(octets) :]


REFUSED = [
    pytest.param(b"", id="nothing"),
    pytest.param(frame(LARGE)[:9], id="half a header"),
    pytest.param(frame(LARGE, UFO, 1000, checksum=(20, 16)), id="UFO"),
    pytest.param(frame(LARGE, TCPV6, 1000, checksum=(20, 16)), id="TCP over IPv6"),
    pytest.param(frame(LARGE, 2, 1000), id="no type"),
    pytest.param(frame(LARGE, 0x40, 1000), id="no type either"),
    pytest.param(frame(LARGE, ECN, 1000), id="ECN of nothing"),
    pytest.param(frame(LARGE_UDP, USO | ECN, 1000), id="ECN of UDP"),
    pytest.param(frame(LARGE, TCPV4, 0, checksum=(20, 16)), id="segments of nothing"),
    pytest.param(frame(LARGE_UDP, USO, 0, checksum=(20, 6)), id="datagrams of nothing"),
    pytest.param(frame(LARGE, USO, 1000), id="TCP for UDP"),
    pytest.param(frame(LARGE_UDP, TCPV4, 1000), id="UDP for TCP"),
    pytest.param(frame(changed(LARGE, 0, 0x65), TCPV4, 1000), id="no IPv4"),
    pytest.param(frame(changed(LARGE, 0, 0x44), TCPV4, 1000), id="IP header too short"),
    pytest.param(frame(b"\x4f\x00\x00\x1e" + bytes(5) + b"\x06" + bytes(20), TCPV4, 1000), id="IP header too long"),
    pytest.param(frame(LARGE[:-1], TCPV4, 1000), id="shorter than it says"),
    pytest.param(frame(LARGE + b"\x00", TCPV4, 1000), id="longer than it says"),
    pytest.param(frame(changed(LARGE, 6, 0x20, 0), TCPV4, 1000), id="first fragment"),
    pytest.param(frame(changed(LARGE, 6, 0, 1), TCPV4, 1000), id="later fragment"),
    pytest.param(frame(changed(LARGE, 32, 0x40), TCPV4, 1000), id="TCP header too short"),
    pytest.param(frame(tcp(0), TCPV4, 1000), id="no data"),
    pytest.param(frame(udp(0), USO, 1000), id="no data in UDP"),
    pytest.param(frame(changed(tcp(4), 32, 0xF0), TCPV4, 1000), id="TCP header longer than the packet"),
    pytest.param(frame(bytes(IP(src="10.0.0.1", dst="10.0.0.2", proto=6) / Raw(bytes(19))), TCPV4, 10), id="half TCP"),
    pytest.param(frame(bytes(IP(src="10.0.0.1", dst="10.0.0.2", proto=17) / Raw(bytes(7))), USO, 10), id="half UDP"),
    pytest.param(frame(LARGE, checksum=(len(LARGE), 0)), id="checksum behind the end"),
    pytest.param(frame(LARGE, checksum=(20, len(LARGE) - 21)), id="checksum over the end"),
    pytest.param(frame(LARGE, checksum=(65_535, 65_535)), id="checksum nowhere"),
    pytest.param(frame(LARGE, checksum=(0, 2)), id="checksum over the length"),
    pytest.param(frame(b"\x45", checksum=(20, 16)), id="checksum of hardly anything"),
]


@pytest.mark.parametrize("refused", REFUSED)
def test_what_does_not_add_up_is_refused(refused: bytes) -> None:
    assert cut(refused) is None


def test_the_hints_of_the_virtio_header_are_not_needed_for_segments() -> None:
    for hint, checksum in ((0, None), (65_535, (65_535, 65_535)), (1, (0, 0))):
        assert cut(frame(LARGE, TCPV4, 1000, checksum=checksum, hint=hint)) == naive_cut(tcp(3000), 1000)


virtio = st.builds(
    struct.Struct("=BBHHHH").pack,
    st.integers(0, 255),
    st.one_of(st.sampled_from((NONE, TCPV4, TCPV4 | ECN, USO)), st.integers(0, 255)),
    *[st.one_of(st.integers(0, 100), st.integers(0, 65_535))] * 4,
)


def spoilt(packet: bytes, places: Sequence[tuple[int, int]], size: int) -> bytes:
    octets = bytearray(packet)
    for at, octet in places:
        octets[at % len(octets)] = octet
    return bytes(octets[:size])


packets = st.one_of(
    st.binary(max_size=120),
    st.builds(
        spoilt,
        st.sampled_from((tcp(3000), udp(3000), tcp(40, ip={"options": [b"\x01"] * 12}), udp(1))),
        st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=3),
        st.one_of(st.integers(0, 120), st.just(4000)),
    ),
)


@given(virtio, packets)
def test_no_frame_whatsoever_gives_more_than_it_has(header: bytes, packet: bytes) -> None:
    given_packets = cut(header + packet)
    if given_packets is None:
        return
    assert given_packets
    if header[1] == NONE:
        (whole,) = given_packets
        assert len(whole) == len(packet)
        return
    heads = headers_size(packet)
    assert b"".join(one[heads:] for one in given_packets) == packet[heads:]
    for one in given_packets:
        assert int.from_bytes(one[2:4], "big") == len(one)
