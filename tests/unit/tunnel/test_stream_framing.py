from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.mangling import mutations
from tunnel.errors import BadPacket
from tunnel.stream_framing import MAX_STREAM_PACKET, StreamFramer, frame

packets_lists = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


@given(packets_lists, st.lists(st.integers(0, 3000), max_size=30))
def test_packets_come_out_however_the_stream_is_cut(packets: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, packets))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    framer = StreamFramer()
    received = [packet for start, end in pairwise(edges) for packet in framer.feed_untrusted(stream[start:end])]
    assert received == packets


def test_packets_come_out_octet_by_octet() -> None:
    packets = [b"a", b"bc", bytes(1000)]
    framer = StreamFramer()
    stream = b"".join(map(frame, packets))
    received = [packet for octet in stream for packet in framer.feed_untrusted(bytes([octet]))]
    assert received == packets


def test_a_length_of_zero_is_refused() -> None:
    with pytest.raises(BadPacket, match="0 octets"):
        StreamFramer().feed_untrusted(b"\0\0")


def test_the_longest_packet_is_accepted_and_one_octet_more_is_not() -> None:
    longest = bytes(MAX_STREAM_PACKET)
    assert StreamFramer().feed_untrusted(frame(longest)) == [longest]
    with pytest.raises(BadPacket, match=f"{MAX_STREAM_PACKET + 1} octets"):
        StreamFramer().feed_untrusted(frame(longest + b"x")[:2])


def test_no_more_is_kept_than_one_unfinished_packet() -> None:
    framer = StreamFramer(max_packet=100)
    framer.feed_untrusted((frame(bytes(100)) * 1000) + frame(bytes(100))[:-1])
    assert len(framer._rest) == 101


def test_a_damaged_stream_gives_bounded_packets_or_a_bad_packet() -> None:
    stream = b"".join(map(frame, [bytes(40), bytes(200), bytes(3)]))
    for damaged in mutations(stream, 1000):
        framer = StreamFramer(max_packet=500)
        try:
            packets = framer.feed_untrusted(damaged)
        except BadPacket:
            continue
        assert b"".join(map(frame, packets)) + framer._rest == damaged
        assert all(0 < len(packet) <= 500 for packet in packets)
