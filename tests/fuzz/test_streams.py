"""TCP: the stream's framing, however the octets are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.strategies import cuts, rubbish
from tunnel.errors import BadPacket
from tunnel.stream_framing import MAX_STREAM_PACKET, StreamFramer, frame


@given(packets=st.lists(st.binary(min_size=1, max_size=80), max_size=10), data=st.data())
def test_packets_come_out_as_they_went_in_wherever_the_stream_is_cut(packets: list[bytes], data: st.DataObject) -> None:
    """The cuts of a stream make no difference."""
    framer = StreamFramer()
    pieces = data.draw(cuts(b"".join(map(frame, packets))))
    assert [packet for piece in pieces for packet in framer.feed_untrusted(piece)] == packets


@given(pieces=st.lists(rubbish(), max_size=20))
def test_rubbish_is_cut_or_refused_and_little_of_it_is_kept(pieces: list[bytes]) -> None:
    """Every stream gives packets of 1 to the maximum, or `BadPacket`; what waits never exceeds one packet."""
    framer = StreamFramer()
    try:
        for piece in pieces:
            packets = framer.feed_untrusted(piece)
            assert all(1 <= len(packet) <= MAX_STREAM_PACKET for packet in packets)
            assert len(framer._rest) < MAX_STREAM_PACKET + 2
    except BadPacket:
        pass


@given(octets=st.binary(min_size=1, max_size=300))
def test_one_octet_at_a_time_is_the_same_as_all_at_once(octets: bytes) -> None:
    """A stream out of step is out of step for everybody."""

    def outcome(pieces: list[bytes]) -> tuple[list[bytes], bool]:
        framer, packets = StreamFramer(), []
        try:
            for piece in pieces:
                packets += framer.feed_untrusted(piece)
        except BadPacket:
            return [], True
        return packets, False

    assert outcome([octets]) == outcome([bytes([octet]) for octet in octets]) or outcome([octets])[1]
