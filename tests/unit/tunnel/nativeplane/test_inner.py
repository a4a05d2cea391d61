from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.nativeplane.library import Buffer, Span, load
from tests.unit.tunnel.test_inner_packet import ipv4, mss, tcp
from tunnel.inner_packet import OCC_EXIT, OCC_MAGIC, PING, OwnMessage, clamp_mss, find_fault, own_message
from tunnel.plane import Drop

library = load("inner.c", "checksum.c")
library.own_message.argtypes = (Span,)
library.find_fault.argtypes = (Span,)
library.clamp_mss.argtypes = (Span, ctypes.c_uint16)
library.clamp_mss.restype = None

OWN_MESSAGES: tuple[OwnMessage | None, ...] = (None, OwnMessage.PING, OwnMessage.OCC, OwnMessage.EXIT)
CAUSES: tuple[Drop | None, ...] = (*Drop, None)


def native_own_message(payload: bytes) -> OwnMessage | None:
    buffer = Buffer(payload)
    number: int = library.own_message(buffer.span)
    return OWN_MESSAGES[number]


def native_fault(packet: bytes) -> Drop | None:
    buffer = Buffer(packet)
    number: int = library.find_fault(buffer.span)
    return CAUSES[number]


@pytest.mark.parametrize(
    "payload",
    [
        PING,
        PING + b"\x00",
        PING[:-1],
        OCC_EXIT,
        OCC_EXIT + b"more",
        OCC_MAGIC,
        OCC_MAGIC + b"\x00",
        OCC_MAGIC + b"\x01V4,dev-type tun",
        OCC_MAGIC[:-1],
        b"",
        ipv4(b""),
    ],
)
def test_own_messages_are_told_apart_as_the_reference_does(payload: bytes) -> None:
    assert native_own_message(payload) is own_message(payload)


headers = st.builds(
    lambda packet, first, length: bytes([first]) + packet[1:2] + length.to_bytes(2, "big") + packet[4:],
    st.binary(min_size=4, max_size=80),
    st.sampled_from((0x45, 0x45, 0x46, 0x4F, 0x44, 0x40, 0x60)),
    st.integers(0, 90),
)


@given(st.one_of(st.binary(max_size=70), headers, st.builds(ipv4, st.binary(max_size=80))))
def test_faults_are_those_that_the_reference_finds(packet: bytes) -> None:
    assert native_fault(packet) is find_fault(packet)


@pytest.mark.parametrize("packet", [b"", b"\x45", b"\x60", ipv4(b"1234") + b"\x00", ipv4(b"1234")[:-1], ipv4(b"1234")])
def test_each_fault_is_found(packet: bytes) -> None:
    assert native_fault(packet) is find_fault(packet)


def clamped(packet: bytes, limit: int) -> bytes:
    buffer = Buffer(packet)
    library.clamp_mss(buffer.span, limit)
    return buffer.octets()


pieces = st.sampled_from(
    (b"\x01", b"\x03\x03\x07", b"\x08\x0a" + bytes(8), mss(1460), mss(500), b"\x02\x03\xff", b"\x09\x00", b"\x00")
)
options = st.lists(pieces, max_size=5).map(b"".join).map(lambda some: (some + bytes(-len(some) % 4))[:40])


@given(
    options=st.one_of(options, st.binary(max_size=10).map(lambda some: some * 4)),
    flags=st.sampled_from((0x02, 0x12, 0x10, 0xC2)),
    ip_options=st.sampled_from((b"", b"\x01\x01\x01\x00")),
    limit=st.one_of(st.integers(0, 0xFFFF), st.integers(400, 1400)),
    size=st.integers(0, 200),
)
def test_a_syn_is_clamped_as_the_reference_does(
    options: bytes, flags: int, ip_options: bytes, limit: int, size: int
) -> None:
    whole = tcp(options, flags=flags, ip_options=ip_options, data=b"fast open")
    head = len(ip_options) + 20
    # A segment that ends early, too; its header is sound all the same.
    packet = ipv4(whole[head : head + size], options=ip_options)
    for one in (whole, packet):
        assert clamped(one, limit) == clamp_mss(one, limit)


@pytest.mark.parametrize(
    "before", [b"", b"\x01" * 4, b"\x01", b"\x03\x03\x07"], ids=["first", "later", "odd", "odd too"]
)
def test_an_mss_is_lowered(before: bytes) -> None:
    after = bytes(-len(before) % 4)
    packet = tcp(before + mss(1460) + after)
    assert clamped(packet, 1359) == clamp_mss(packet, 1359) == tcp(before + mss(1359) + after)
    assert clamped(packet, 1460) == packet


@given(body=st.binary(max_size=60), protocol=st.sampled_from((6, 17)), fragment=st.sampled_from((0, 1, 0x2000)))
def test_no_sound_packet_upsets_the_clamp(body: bytes, protocol: int, fragment: int) -> None:
    packet = ipv4(body, protocol=protocol, fragment=fragment)
    assert clamped(packet, 1000) == clamp_mss(packet, 1000)
