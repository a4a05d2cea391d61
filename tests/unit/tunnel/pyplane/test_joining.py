from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from tunnel.pyplane.joining import Train, is_whole, may_begin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunnel.pyplane.peers import PeerRecord

PEER = cast("PeerRecord", object())
TIMESTAMP = ("Timestamp", (1000, 2000))
HEADERS = 20 + 32


def segment(size: int = 1000, at: int = 0, *, ip: Any = None, tcp: Any = None, data: bytes | None = None) -> bytes:
    """A TCP segment of one flow whose data begins `at` octets into it."""
    about_ip = {"src": "10.80.0.7", "dst": "192.0.2.1", "flags": "DF", "ttl": 64, "tos": 0} | (ip or {})
    about_tcp = {
        "sport": 4000,
        "dport": 443,
        "flags": "A",
        "seq": (4_294_960_000 + at) % 2**32,
        "ack": 77,
        "window": 500,
        "options": [("NOP", None), ("NOP", None), TIMESTAMP],
    } | (tcp or {})
    return bytes(IP(**about_ip) / TCP(**about_tcp) / Raw(os.urandom(size) if data is None else data))


def damaged(packet: bytes, at: int) -> bytes:
    return packet[:at] + bytes([packet[at] ^ 0x10]) + packet[at + 1 :]


def test_the_next_segment_of_a_flow_is_joined() -> None:
    train = Train(PEER, segment())
    assert train.extend(segment(at=1000))
    assert train.extend(segment(at=2000, ip={"id": 9}))
    assert len(train.packets) == 3


NEVER_FIRST = [
    pytest.param(segment(size=0), id="no data"),
    pytest.param(segment(size=20), id="hardly any data"),
    pytest.param(segment(ip={"options": [b"\x01"] * 4}), id="IP options"),
    pytest.param(segment(ip={"flags": "MF"}), id="first fragment"),
    pytest.param(segment(ip={"flags": 0, "frag": 10}), id="later fragment"),
    pytest.param(segment(ip={"flags": 0}), id="no DF"),
    *(
        pytest.param(segment(tcp={"flags": flags}), id=flags)
        for flags in ("S", "SA", "FA", "RA", "PA", "UA", "EA", "CA")
    ),
    pytest.param(segment(tcp={"flags": ""}), id="no ACK"),
    pytest.param(segment(tcp={"reserved": 1}), id="reserved bits"),
    pytest.param(segment(tcp={"dataofs": 4}), id="TCP header too short"),
    pytest.param(segment(size=100, tcp={"dataofs": 15, "options": []})[:80], id="short"),
]


@pytest.mark.parametrize("packet", NEVER_FIRST)
def test_some_packets_begin_no_train(packet: bytes) -> None:
    assert not may_begin(packet)
    assert may_begin(segment())


NEVER_NEXT = [
    pytest.param(segment(at=999), id="a gap before"),
    pytest.param(segment(at=2000), id="a gap"),
    pytest.param(segment(), id="the same again"),
    pytest.param(segment(1001, 1000), id="longer than the first"),
    pytest.param(segment(0, 1000), id="no data"),
    pytest.param(segment(1000, 1000, ip={"ttl": 63}), id="TTL"),
    pytest.param(segment(1000, 1000, ip={"tos": 3}), id="TOS: congestion experienced"),
    pytest.param(segment(1000, 1000, ip={"flags": 0}), id="no DF"),
    pytest.param(segment(1000, 1000, ip={"flags": "MF"}), id="fragment"),
    pytest.param(segment(996, 1000, ip={"options": [b"\x01"] * 4}), id="IP options"),
    pytest.param(segment(1000, 1000, tcp={"ack": 78}), id="acknowledgement"),
    pytest.param(segment(1000, 1000, tcp={"window": 501}), id="window"),
    pytest.param(segment(1000, 1000, tcp={"urgptr": 1}), id="urgent pointer"),
    pytest.param(segment(1000, 1000, tcp={"reserved": 1}), id="reserved bits"),
    pytest.param(
        segment(1000, 1000, tcp={"options": [("NOP", None), ("NOP", None), ("Timestamp", (1001, 2000))]}),
        id="another timestamp",
    ),
    pytest.param(segment(1012, 1000, tcp={"options": []}), id="no TCP options"),
    *(
        pytest.param(segment(size, 1000, tcp={"flags": flags}), id=f"{flags} {size}")
        for flags in ("FA", "SA", "RA", "UA", "FPA", "EA", "CA", "P", "")
        for size in (1000, 900)
    ),
    pytest.param(segment(1000, 1000)[:-1], id="cut off"),
    pytest.param(segment(1000, 1000)[:30], id="hardly a header"),
    pytest.param(segment(1000, 1000) + b"\x00", id="padded"),
    pytest.param(segment(900, 1000) + bytes(100), id="padded to the size of the first"),
]


@pytest.mark.parametrize("packet", NEVER_NEXT)
def test_some_packets_continue_no_train(packet: bytes) -> None:
    train = Train(PEER, segment())
    assert not train.extend(packet)
    assert len(train.packets) == 1
    assert train.extend(segment(at=1000)), "a packet that is refused changes nothing"


@pytest.mark.parametrize(
    "last",
    [
        segment(999, 1000),
        segment(1, 1000),
        segment(1000, 1000, tcp={"flags": "PA"}),
        segment(3, 1000, tcp={"flags": "PA"}),
    ],
    ids=["shorter by one", "of one octet", "a push", "a short push"],
)
def test_a_push_or_a_shorter_segment_ends_a_train(last: bytes) -> None:
    train = Train(PEER, segment())
    assert train.extend(last)
    size = len(last) - HEADERS
    assert not train.extend(segment(1000, 1000 + size))
    assert not train.extend(segment(size, 1000 + size))
    assert len(train.packets) == 2


@pytest.mark.parametrize(("size", "most"), [(1348, 48), (100, 64), (9000, 7), (32000, 2)])
def test_a_train_has_room_for_so_many(size: int, most: int) -> None:
    train = Train(PEER, segment(size))
    taken = 1 + sum(train.extend(segment(size, size * number)) for number in range(1, 70))
    assert taken == len(train.packets) == most
    assert sum(map(len, train.pieces())) - 10 <= 65_535


@pytest.mark.parametrize("at", [8, 10, 13, 36, 60, 1051])
def test_a_damaged_first_packet_is_noticed(at: int) -> None:
    train = Train(PEER, damaged(segment(), at))
    if train.extend(segment(at=1000)):
        assert not train.is_intact()


@pytest.mark.parametrize("at", [2, 24])
def test_a_first_packet_with_another_length_or_sequence_number_is_not_continued(at: int) -> None:
    assert not Train(PEER, damaged(segment(), at)).extend(segment(at=1000))


def test_ports_are_where_they_are_looked_for_only_in_whole_packets() -> None:
    assert is_whole(segment())
    assert is_whole(segment(ip={"flags": 0}))
    for other in ({"flags": "MF"}, {"frag": 3}, {"options": [b"\x01"] * 4}):
        assert not is_whole(segment(ip=other))


def train_of(count: int, size: int, last: int) -> list[bytes]:
    return [*(segment(size, size * number) for number in range(count - 1)), segment(last, size * (count - 1))]


def joined(packets: Sequence[bytes]) -> Train:
    train = Train(PEER, packets[0])
    assert all(train.extend(packet) for packet in packets[1:])
    return train


@given(st.integers(2, 30), st.integers(76, 1448), st.integers(1, 1448))
def test_segments_as_they_should_be_make_an_intact_train(count: int, size: int, last: int) -> None:
    assert joined(train_of(count, size, min(size, last))).is_intact()


@given(st.binary(min_size=100, max_size=1500), st.integers(0, 0xFFFF))
def test_a_checksum_is_right_exactly_when_scapy_says_so(data: bytes, checksum: int) -> None:
    first, right = segment(len(data)), segment(at=len(data), data=data)
    claimed = right[:36] + checksum.to_bytes(2, "big") + right[38:]
    # Both zeros of the checksum's arithmetic are the same to a receiver.
    expected = checksum % 0xFFFF == int.from_bytes(right[36:38], "big") % 0xFFFF
    assert joined([first, claimed]).is_intact() == expected


@given(st.data())
def test_every_damaged_octet_in_a_train_is_noticed(data: st.DataObject) -> None:
    size = data.draw(st.integers(76, 1448))
    packets = train_of(data.draw(st.integers(2, 20)), size, data.draw(st.integers(1, size)))
    number = data.draw(st.integers(0, len(packets) - 1))
    at = data.draw(st.integers(36, len(packets[number]) - 1).filter(lambda at: not 38 <= at < HEADERS))
    wrong = data.draw(st.integers(1, 255))
    packet = packets[number]
    packets[number] = packet[:at] + bytes([packet[at] ^ wrong]) + packet[at + 1 :]
    assert not joined(packets).is_intact()


@given(st.data())
def test_the_same_bit_damaged_in_two_packets_is_noticed(data: st.DataObject) -> None:
    packets = train_of(data.draw(st.integers(3, 40)), 200, 200)
    at, bit = data.draw(st.integers(HEADERS, len(packets[0]) - 1)), 1 << data.draw(st.integers(0, 7))
    for number in data.draw(st.sets(st.integers(0, len(packets) - 1), min_size=2, max_size=2)):
        packet = packets[number]
        packets[number] = packet[:at] + bytes([packet[at] ^ bit]) + packet[at + 1 :]
    assert not joined(packets).is_intact()


def cut(whole: IP, size: int) -> list[bytes]:
    """What the kernel makes of one packet with a segment size (`tcp_gso_segment`), said by scapy."""
    data, segments = bytes(whole[TCP].payload), []
    for at in range(0, len(data), size):
        one = whole.copy()
        last = at + size >= len(data)
        one[TCP].flags = whole[TCP].flags if last else str(whole[TCP].flags).replace("P", "")
        one[TCP].seq = (whole[TCP].seq + at) % 2**32
        one[TCP].remove_payload()
        one[TCP].add_payload(data[at : at + size])
        segments.append(one)
    return [normal(one) for one in segments]


def normal(packet: IP) -> bytes:
    """With new checksums, and without the identification, which means nothing here."""
    packet.id = 0
    for field in (packet, packet[TCP]):
        field.delfieldval("chksum")
    packet.delfieldval("len")
    return bytes(packet)


@given(
    size=st.integers(76, 1400),
    sizes=st.lists(st.sampled_from((0, 0, 0, -1, -75)), min_size=1, max_size=8),
    push=st.booleans(),
    options=st.sampled_from(([], [("NOP", None), ("NOP", None), TIMESTAMP], [("SAck", (1, 2))])),
    start=st.integers(0, 0xFFFF_FFFF),
    tos=st.integers(0, 255),
)
def test_what_was_joined_can_be_cut_into_the_same_segments(
    *, size: int, sizes: Sequence[int], push: bool, options: list[Any], start: int, tos: int
) -> None:
    size += 60
    segments, at = [], 0
    for number, less in enumerate([0, *sizes]):
        flags = "PA" if push and number == len(sizes) else "A"
        about = {"flags": flags, "seq": (start + at) % 2**32, "options": options}
        segments.append(segment(size + less, ip={"tos": tos, "id": number}, tcp=about))
        at += size + less
    train = Train(PEER, segments[0])
    count = 1
    while count < len(segments) and train.extend(segments[count]):
        count += 1
    packet = b"".join(train.pieces())[10:]
    assert len(packet) == int.from_bytes(packet[2:4], "big")
    expected = [normal(IP(one)) for one in segments[:count]]
    assert cut(IP(packet), size) == expected
    # It ended where it had to: at the first shorter segment, or with the last.
    shorter = [number for number, less in enumerate(sizes, start=2) if less]
    assert count == min([*shorter, len(segments)])
