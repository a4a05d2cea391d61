from __future__ import annotations

import ctypes

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.utils import checksum as complement_of_sum

from tests.unit.tunnel.nativeplane.library import Buffer, Span, load
from tests.unit.tunnel.nativeplane.packets import naive_sum

library = load("checksum.c")
library.sum_octets.argtypes = (Span, ctypes.c_uint32)
library.sum_octets.restype = ctypes.c_uint16
library.sum_pseudo_header.argtypes = (Span, ctypes.c_uint8, ctypes.c_size_t)
library.sum_pseudo_header.restype = ctypes.c_uint16
library.set_ipv4_checksum.argtypes = (Span, ctypes.c_size_t)
library.set_ipv4_checksum.restype = None
library.is_ipv4_checksum_right.argtypes = (Span, ctypes.c_size_t)
library.is_ipv4_checksum_right.restype = ctypes.c_bool
library.update_checksum.argtypes = (ctypes.c_uint16, ctypes.c_uint16, ctypes.c_uint16)
library.update_checksum.restype = ctypes.c_uint16

words = st.integers(0, 0xFFFF)


def sum_octets(octets: bytes, initial: int = 0, *, before: int = 0) -> int:
    """As the core has it, for octets that begin `before` octets into a buffer that ends with them."""
    buffer = Buffer(bytes(before) + octets)
    return int(library.sum_octets(Span((buffer.span.at or 0) + before, len(octets)), initial))


@given(octets=st.binary(max_size=300), initial=st.integers(0, 0xFFFF_FFFF), before=st.integers(0, 9))
def test_the_sum_is_the_naive_one_wherever_the_octets_are(octets: bytes, initial: int, before: int) -> None:
    assert sum_octets(octets, initial, before=before) == naive_sum(octets, initial)


def test_every_length_is_summed_to_its_last_octet() -> None:
    for size in range(1500):
        octets = bytes(size - 1) + b"\x01" if size else b""
        assert sum_octets(octets) == naive_sum(octets)


@given(size=st.integers(0, 65_535), octet=st.sampled_from((0x00, 0xFF, 0x80)))
def test_the_longest_packets_overflow_nothing(size: int, octet: int) -> None:
    octets = bytes([octet]) * size
    assert sum_octets(octets, 0xFFFF_FFFF) == naive_sum(octets, 0xFFFF_FFFF)


@given(octets=st.binary(min_size=1, max_size=2000))
def test_the_sum_is_what_scapy_takes_the_complement_of(octets: bytes) -> None:
    assert ~sum_octets(octets) & 0xFFFF == complement_of_sum(octets)


@given(source=st.binary(min_size=4, max_size=4), destination=st.binary(min_size=4, max_size=4), size=words)
def test_the_pseudo_header_is_addresses_protocol_and_length(source: bytes, destination: bytes, size: int) -> None:
    packet = Buffer(bytes(12) + source + destination)
    expected = naive_sum(source + destination + b"\x00\x11" + size.to_bytes(2, "big"))
    assert library.sum_pseudo_header(packet.span, 17, size) == expected


@given(options=st.integers(0, 10), ttl=st.integers(0, 255), number=words)
def test_a_header_gets_the_checksum_that_scapy_gives_it(options: int, ttl: int, number: int) -> None:
    expected = bytes(IP(src="10.80.0.7", dst="192.0.2.1", ttl=ttl, id=number, options=[b"\x01"] * 4 * options))
    header = Buffer(expected[:10] + b"\xab\xcd" + expected[12:] + b"behind the header")
    size = len(expected)
    assert not library.is_ipv4_checksum_right(header.span, size)
    library.set_ipv4_checksum(header.span, size)
    assert header.octets()[:size] == expected
    assert library.is_ipv4_checksum_right(header.span, size)


@given(words, words, words, st.integers(1, 0xFFFF))
def test_an_updated_checksum_is_that_of_the_updated_words(first: int, old: int, new: int, other: int) -> None:
    def fresh(word: int) -> int:
        return ~naive_sum(b"", first + word + other) & 0xFFFF

    assert library.update_checksum(fresh(old), old, new) == fresh(new)
