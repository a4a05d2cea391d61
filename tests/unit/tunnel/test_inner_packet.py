from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.inner_packet import (
    OCC_EXIT,
    OCC_MAGIC,
    PING,
    OwnMessage,
    clamp_mss,
    find_fault,
    is_unicast,
    own_message,
)
from tunnel.plane import Drop


def checksum(data: bytes) -> int:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(payload: bytes, *, protocol: int = 6, options: bytes = b"", fragment: int = 0) -> bytes:
    header = bytearray(20) + options
    header[0] = 0x40 | len(header) // 4
    header[2:4] = (len(header) + len(payload)).to_bytes(2, "big")
    header[6:8] = fragment.to_bytes(2, "big")
    header[8:10] = bytes([64, protocol])
    header[12:20] = bytes([10, 80, 0, 2, 10, 20, 0, 1])
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    return bytes(header) + payload


def pseudo_header(packet: bytes) -> bytes:
    size = len(packet) - (packet[0] & 15) * 4
    return packet[12:20] + bytes([0, 6]) + size.to_bytes(2, "big")


def tcp(options: bytes, *, flags: int = 0x02, data: bytes = b"", ip_options: bytes = b"") -> bytes:
    assert len(options) % 4 == 0
    segment = bytearray(20) + options + data
    segment[0:4] = bytes([0xC0, 1, 0, 80])
    segment[12:14] = bytes([(20 + len(options)) // 4 << 4, flags])
    packet = ipv4(bytes(segment), options=ip_options)
    segment[16:18] = checksum(pseudo_header(packet) + segment).to_bytes(2, "big")
    return ipv4(bytes(segment), options=ip_options)


def tcp_is_sound(packet: bytes) -> bool:
    return checksum(pseudo_header(packet) + packet[(packet[0] & 15) * 4 :]) == 0


def mss(size: int) -> bytes:
    return b"\x02\x04" + size.to_bytes(2, "big")


def test_openvpns_own_messages_are_told_apart() -> None:
    assert own_message(PING) is OwnMessage.PING
    assert own_message(OCC_EXIT) is OwnMessage.EXIT
    assert own_message(OCC_EXIT + b"more") is OwnMessage.EXIT
    assert own_message(OCC_MAGIC) is OwnMessage.OCC
    assert own_message(OCC_MAGIC + b"\x00") is OwnMessage.OCC
    assert own_message(OCC_MAGIC + b"\x01V4,dev-type tun") is OwnMessage.OCC
    assert own_message(PING + b"\0") is None
    assert own_message(b"") is None
    assert own_message(ipv4(b"")) is None


@pytest.mark.parametrize(
    ("packet", "fault"),
    [
        (b"", Drop.NOT_IPV4),
        (b"\x60" + bytes(39), Drop.NOT_IPV4),
        (b"\x00", Drop.NOT_IPV4),
        (b"\x45", Drop.BAD_HEADER),
        (ipv4(b"")[:19], Drop.BAD_HEADER),
        (b"\x44" + ipv4(b"")[1:], Drop.BAD_HEADER),
        (b"\x40" + ipv4(b"")[1:], Drop.BAD_HEADER),
        (b"\x46" + ipv4(b"")[1:], Drop.BAD_HEADER),
        (ipv4(b"1234")[:-1], Drop.BAD_HEADER),
        (ipv4(b"1234") + b"\0", Drop.BAD_HEADER),
        (ipv4(b""), None),
        (ipv4(b"1234", options=bytes(40)), None),
        (ipv4(b"1234", fragment=0x2000), None),
        (ipv4(b"1234", fragment=0x00B9), None),
    ],
)
def test_headers_that_contradict_the_packet_are_found(packet: bytes, fault: Drop | None) -> None:
    assert find_fault(packet) is fault


@pytest.mark.parametrize(
    ("address", "unicast"),
    [
        ("0.0.0.0", False),
        ("0.1.2.3", False),
        ("1.0.0.0", True),
        ("10.80.0.2", True),
        ("126.255.255.255", True),
        ("127.0.0.1", False),
        ("128.0.0.1", True),
        ("169.254.169.254", True),
        ("223.255.255.255", True),
        ("224.0.0.1", False),
        ("239.255.255.250", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
    ],
)
def test_only_unicast_destinations_name_one_host(address: str, unicast: bool) -> None:
    assert is_unicast(ipaddress.IPv4Address(address).packed) is unicast


@pytest.mark.parametrize(
    "before",
    [b"", b"\x01\x01\x01\x01", b"\x01\x03\x03\x07", b"\x01", b"\x03\x03\x07", b"\x08\x0a" + bytes(8)],
    ids=["first", "after-padding", "after-wscale", "odd", "odd-after-wscale", "after-timestamps"],
)
@pytest.mark.parametrize("flags", [0x02, 0x12], ids=["syn", "syn-ack"])
@pytest.mark.parametrize("ip_options", [b"", b"\x01\x01\x01\x00"], ids=["plain", "ip-options"])
def test_the_mss_of_a_syn_is_lowered_and_its_checksum_stays_right(before: bytes, flags: int, ip_options: bytes) -> None:
    options = before + mss(1460)
    options += b"\x00" * (-len(options) % 4)
    packet = tcp(options, flags=flags, ip_options=ip_options)
    assert tcp_is_sound(packet)
    clamped = clamp_mss(packet, 1359)
    assert clamped == tcp(options.replace(mss(1460), mss(1359)), flags=flags, ip_options=ip_options)
    assert tcp_is_sound(clamped)


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(tcp(mss(1360)), id="asks for less"),
        pytest.param(tcp(b""), id="no option"),
        pytest.param(tcp(mss(1460), flags=0x10), id="no SYN"),
        pytest.param(ipv4(tcp(mss(1460))[20:], protocol=17), id="no TCP"),
        pytest.param(ipv4(tcp(mss(1460))[20:], fragment=1), id="later fragment"),
        pytest.param(ipv4(tcp(mss(1460))[20:33]), id="header cut short"),
        pytest.param(ipv4(tcp(mss(1460))[20:42]), id="options cut short"),
        pytest.param(tcp(b"\x00\x00\x00\x00" + mss(1460)), id="behind the end of options"),
        pytest.param(tcp(b"\x03\x00\x00\x00" + mss(1460)), id="option of length 0"),
        pytest.param(tcp(b"\x03\x09\x00\x00"), id="option past the end"),
        pytest.param(tcp(b"\x02\x03\xff\x00"), id="MSS of wrong length"),
        pytest.param(ipv4(b""), id="nothing inside"),
    ],
)
def test_anything_else_passes_unchanged(packet: bytes) -> None:
    assert clamp_mss(packet, 1400) == packet


@given(announced=st.integers(0, 0xFFFF), limit=st.integers(536, 9000), pad=st.integers(0, 3))
def test_the_corrected_checksum_equals_a_fresh_one(announced: int, limit: int, pad: int) -> None:
    options = b"\x01" * pad + mss(announced) + b"\x01" * (-pad % 4)
    clamped = clamp_mss(tcp(options), limit)
    assert tcp_is_sound(clamped)
    assert int.from_bytes(clamped[42 + pad : 44 + pad], "big") == min(announced, limit)


@given(body=st.binary(max_size=60))
def test_no_sound_packet_upsets_the_clamp(body: bytes) -> None:
    packet = ipv4(body)
    assert find_fault(packet) is None
    assert len(clamp_mss(packet, 1000)) == len(packet)
