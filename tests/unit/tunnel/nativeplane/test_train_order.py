from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.nativeplane.offload import Trains, Written, cut
from tests.unit.tunnel.nativeplane.packets import (
    TIMESTAMPS,
    damaged,
    frame,
    is_valid,
    normal,
    super_frame,
    tcp,
    udp,
)
from tunnel.inner_packet import find_fault
from tunnel.pyplane.joining import Train, flow_of, is_whole, may_begin

if TYPE_CHECKING:
    from collections.abc import Sequence

PEER = cast("Any", None)


@given(
    count=st.integers(2, 8),
    size=st.integers(76, 1400),
    last=st.integers(1, 1400),
    options=st.sampled_from(([], TIMESTAMPS, [("SAck", (1, 2))], [("NOP", None)] * 40)),
    push=st.booleans(),
    sequence=st.integers(0, 2**32 - 1),
    number=st.integers(0, 65_535),
    tos=st.integers(0, 255),
    make=st.sampled_from((tcp, udp)),
)
def test_what_was_cut_is_joined_to_the_same_again(
    *,
    count: int,
    size: int,
    last: int,
    options: Any,
    push: bool,
    sequence: int,
    number: int,
    tos: int,
    make: Any,
) -> None:
    size += 12
    about = {"options": options, "flags": "PA" if push else "A", "seq": sequence} if make is tcp else {}
    whole = super_frame(make(size * (count - 1) + min(last, size), ip={"id": number, "tos": tos}, **about), size)
    packets = cut(whole)
    assert packets is not None
    assert len(packets) == count
    assert all(is_valid(packet) for packet in packets)
    with contextlib.closing(Trains()) as trains:
        trains.take(*packets)
        assert [one.frame for one in trains.flush()] == [whole]


class Sender:
    """A flow whose sender does all that senders do, and some things that they should not."""

    ODDITIES: dict[str, dict[str, Any]] = {  # noqa: RUF012 - never changed
        "options": {"ip": {"options": [b"\x01"] * 4}},
        "first fragment": {"ip": {"flags": "MF"}},
        "later fragment": {"ip": {"flags": 0, "frag": 9}},
        "no DF": {"ip": {"flags": 0}},
        "ttl": {"ip": {"ttl": 9}},
        "tos": {"ip": {"tos": 3}},
        "push": {"flags": "PA"},
        "fin": {"flags": "FA"},
        "window": {"window": 99},
        "ack": {"ack": 99},
        "timestamps": {"options": [("NOP", None), ("NOP", None), ("Timestamp", (1001, 2000))]},
    }

    def __init__(self, make: Any, port: int) -> None:
        self.make, self.port = make, port
        self.sequence = 4_294_967_000
        """Of the next segment."""
        self.sent = list[bytes]()

    def send(self, size: int, oddity: str) -> bytes:
        about = self.ODDITIES.get(oddity, {})
        if oddity == "again" and self.sent:
            return self.sent[-1]
        if self.make is udp:
            about = {key: value for key, value in about.items() if key == "ip"}
            if oddity == "no checksum":
                about = {"chksum": 0}
        else:
            self.sequence += oddity == "gap"
            about = about | {"seq": self.sequence % 2**32}
            self.sequence += size
        packet: bytes = self.make(size, number=len(self.sent), sport=self.port, **about)
        if oddity.startswith("damaged"):
            packet = damaged(
                packet, {"damaged data": -1, "damaged header": 8, "damaged checksum": 26}[oddity] % len(packet)
            )
        self.sent.append(packet)
        return packet


oddities = st.one_of(
    *[st.just("")] * 4,
    st.sampled_from(
        [*Sender.ODDITIES, "again", "gap", "no checksum", "damaged data", "damaged header", "damaged checksum"],
    ),
)
sizes = st.sampled_from((600, 600, 600, 599, 200, 601, 1, 0))
conversations = st.lists(st.tuples(st.integers(0, 4), sizes, oddities, st.booleans()), max_size=40)


def flow_or_none(packet: bytes) -> bytes | None:
    """None for what may belong to any flow."""
    return bytes([packet[9]]) + flow_of(packet) if is_whole(packet) else None


@given(conversations)
def test_whatever_flows_do_each_packet_arrives_once_and_in_its_flows_order(
    conversation: list[tuple[int, int, str, bool]],
) -> None:
    senders = [Sender(tcp, 1), Sender(tcp, 2), Sender(udp, 1), Sender(udp, 2), Sender(udp, 3)]
    sent, written = list[bytes](), list[Written]()
    with contextlib.closing(Trains()) as trains:
        for number, size, oddity, ends_batch in conversation:
            packet = senders[number].send(size, oddity)
            sent.append(packet)
            trains.take(packet)
            if ends_batch and size < 600:
                written += trains.flush()
        written += trains.flush()
    arrived = [one for wrote in written for one in wrote.segments()]
    assert sum(one.packets for one in written) == len(arrived) == len(sent)
    assert sum(one.octets for one in written) == sum(map(len, sent))
    for flow in {flow_or_none(packet) for packet in sent}:
        expected = [normal(one) for one in sent if flow_or_none(one) in {flow, None}]
        assert [normal(one) for one in arrived if flow_or_none(one) in {flow, None}] == expected
    singles = [wrote.frame[10:] for wrote in written if wrote.packets == 1]
    assert all(one in sent for one in singles), "what is not joined is not changed"


def reference_writes(packets: Sequence[bytes]) -> list[bytes]:
    """What the Python plane writes of sound TCP packets."""
    waiting, written = dict[bytes, Train](), list[bytes]()

    def write(train: Train) -> None:
        assert len(train.packets) == 1 or train.is_intact()
        written.append(b"".join(train.pieces()) if len(train.packets) > 1 else frame(train.packets[0]))

    for packet in packets:
        flow = flow_of(packet)
        if flow in waiting and waiting[flow].extend(packet):
            continue
        for one in [flow] if is_whole(packet) else list(waiting):
            if one in waiting:
                write(waiting.pop(one))
        if may_begin(packet):
            waiting[flow] = Train(PEER, packet)
        else:
            written.append(frame(packet))
    for train in waiting.values():
        write(train)
    return written


@given(conversations)
def test_tcp_is_joined_as_the_reference_does(conversation: list[tuple[int, int, str, bool]]) -> None:
    senders = [Sender(tcp, port) for port in range(5)]
    sent = [senders[number].send(size, oddity) for number, size, oddity, _ in conversation if "damaged" not in oddity]
    with contextlib.closing(Trains()) as trains:
        trains.take(*sent)
        assert sorted([one.frame for one in trains.flush()]) == sorted(reference_writes(sent))


def spoilt(packet: bytes, places: Sequence[tuple[int, int]], size: int) -> bytes:
    octets = bytearray(packet[:size])
    for at, octet in places:
        if at < len(octets):
            octets[at] = octet
    return bytes(octets)


def with_its_length(packet: bytes) -> bytes:
    return packet[:2] + len(packet).to_bytes(2, "big") + packet[4:] if len(packet) >= 4 else packet


anything = st.builds(
    spoilt,
    st.sampled_from((tcp(400), tcp(400, seq=4_294_967_400 % 2**32), udp(400), udp(30), tcp(0, options=[]))),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=2),
    st.one_of(st.integers(0, 60), st.just(1000), st.just(1000)),
)


@given(st.lists(st.one_of(st.binary(max_size=60), anything, anything.map(with_its_length)), max_size=12))
def test_whatever_comes_is_written_once_or_is_not_a_sound_packet(packets: list[bytes]) -> None:
    taken = list[bytes]()
    with contextlib.closing(Trains()) as trains:
        for packet in packets:
            if trains.extend(packet):
                taken.append(packet)
            elif find_fault(packet) is None:
                trains.take(packet)
                taken.append(packet)
        written = trains.flush()
    assert sum(one.packets for one in written) == len(taken)
    arrived = sorted(normal(one) for wrote in written for one in wrote.segments())
    assert arrived == sorted(normal(one) for one in taken)
