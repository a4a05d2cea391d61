from __future__ import annotations

import contextlib
import errno
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.nativeplane.offload import MOST_TRAINS, Trains, Written
from tests.unit.tunnel.nativeplane.packets import TCPV4, USO, damaged, frame, normal, super_frame, tcp, udp
from tests.unit.tunnel.pyplane.test_joining import NEVER_FIRST, NEVER_NEXT, segment
from tunnel.pyplane.joining import flow_of, may_begin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EITHER = [pytest.param(tcp, id="tcp"), pytest.param(udp, id="udp")]


@pytest.fixture
def trains() -> Iterator[Trains]:
    with contextlib.closing(Trains()) as some:
        yield some


def in_a_row(make: Any, count: int, size: int = 500, last: int | None = None, **about: Any) -> list[bytes]:
    """Consecutive packets of a flow."""
    sizes = [*[size] * (count - 1), size if last is None else last]
    if make is udp:
        return [udp(one, number=number, **about) for number, one in enumerate(sizes)]
    starts = [(4_294_967_000 + size * number) % 2**32 for number in range(count)]
    return [tcp(one, number=number, seq=starts[number], **about) for number, one in enumerate(sizes)]


def alone(*packets: bytes) -> list[bytes]:
    return [frame(packet) for packet in packets]


def frames(written: Sequence[Written]) -> list[bytes]:
    return [one.frame for one in written]


@pytest.mark.parametrize(("make", "gso"), [(tcp, TCPV4), (udp, USO)])
def test_packets_of_a_flow_are_written_as_one(trains: Trains, make: Any, gso: int) -> None:
    packets = in_a_row(make, 20, last=77)
    trains.take(*packets[:-1])
    assert trains.written == []
    trains.take(packets[-1])
    (joined,) = trains.flush()
    data = b"".join(packet[-77:] if packet is packets[-1] else packet[-500:] for packet in packets)
    assert joined.frame == super_frame(make(0, data=data), 500)
    assert (joined.frame[1], joined.packets, joined.octets) == (gso, 20, sum(map(len, packets)))
    assert [normal(one) for one in joined.segments()] == [normal(one) for one in packets]
    assert trains.flush() == []


@pytest.mark.parametrize("make", EITHER)
def test_a_single_packet_is_written_as_it_came(trains: Trains, make: Any) -> None:
    packet = make(500)
    trains.take(packet)
    assert trains.flush() == [Written(1, frame(packet), 1, len(packet))]


@pytest.mark.parametrize("packet", NEVER_FIRST)
def test_what_may_begin_no_train_leaves_at_once(trains: Trains, packet: bytes) -> None:
    assert not may_begin(packet)
    trains.take(packet)
    assert frames(trains.written) == alone(packet)


@pytest.mark.parametrize("packet", NEVER_NEXT)
def test_what_may_not_continue_a_train_is_not_taken(trains: Trains, packet: bytes) -> None:
    first, second = segment(), segment(at=1000)
    trains.take(first)
    assert not trains.extend(packet)
    assert trains.written == []
    assert trains.extend(second), "a packet that is refused changes nothing"
    (joined,) = trains.flush()
    assert joined.packets == 2


NEVER_FIRST_UDP = [
    pytest.param(udp(0), id="no data"),
    pytest.param(udp(500, chksum=0), id="no checksum"),
    pytest.param(udp(500, len=507), id="length too short"),
    pytest.param(udp(500, len=509), id="length too long"),
    pytest.param(udp(500, ip={"flags": 0}), id="no DF"),
    pytest.param(udp(500, ip={"flags": "MF"}), id="first fragment"),
    pytest.param(udp(500, ip={"frag": 7}), id="later fragment"),
    pytest.param(udp(500, ip={"flags": "evil+DF"}), id="reserved flag"),
    pytest.param(udp(500, ip={"options": [b"\x01"] * 4}), id="IP options"),
]


@pytest.mark.parametrize("packet", NEVER_FIRST_UDP)
def test_what_may_begin_no_train_of_datagrams_leaves_at_once(trains: Trains, packet: bytes) -> None:
    trains.take(packet)
    assert frames(trains.written) == alone(packet)


NEVER_NEXT_UDP = [
    *NEVER_FIRST_UDP,
    pytest.param(udp(501), id="longer than the first"),
    pytest.param(udp(500, ip={"ttl": 63}), id="TTL"),
    pytest.param(udp(500, ip={"tos": 3}), id="TOS"),
    pytest.param(udp(500, sport=54), id="source port"),
    pytest.param(udp(500, dport=5001), id="destination port"),
    pytest.param(udp(500, ip={"src": "10.20.0.2"}), id="source"),
    pytest.param(udp(500, ip={"dst": "10.80.0.8"}), id="destination"),
    pytest.param(udp(500, ip={"proto": 6}), id="protocol"),
    pytest.param(udp(500)[:-1], id="cut off"),
    pytest.param(udp(500)[:30], id="hardly a header"),
    pytest.param(udp(500)[:10], id="not even that"),
    pytest.param(b"", id="nothing"),
    pytest.param(udp(500) + b"\x00", id="padded"),
    pytest.param(udp(400) + bytes(100), id="padded to the size of the first"),
]


@pytest.mark.parametrize("packet", NEVER_NEXT_UDP)
def test_what_may_not_continue_a_train_of_datagrams_is_not_taken(trains: Trains, packet: bytes) -> None:
    trains.take(udp(500))
    assert not trains.extend(packet)
    assert trains.written == []
    assert trains.extend(udp(500))
    (joined,) = trains.flush()
    assert joined.packets == 2


@pytest.mark.parametrize("make", EITHER)
def test_another_peers_packet_does_not_continue_a_train(trains: Trains, make: Any) -> None:
    first, second, third = in_a_row(make, 3)
    trains.take(first)
    assert not trains.extend(second, peer=2)
    trains.take(second, peer=2)
    assert [(one.peer, one.frame) for one in trains.written] == [(1, frame(first))]
    trains.take(third, peer=2)
    (joined,) = trains.flush()[1:]
    assert (joined.peer, joined.packets) == (2, 2)


@pytest.mark.parametrize("make", EITHER)
def test_a_shorter_packet_ends_a_train(trains: Trains, make: Any) -> None:
    packets = in_a_row(make, 3, last=499)
    trains.take(*packets)
    (joined,) = trains.written
    assert joined.packets == 3
    assert not trains.extend(in_a_row(make, 4)[3])


def test_a_push_ends_a_train_and_is_kept(trains: Trains) -> None:
    first, second, _ = in_a_row(tcp, 3)
    pushed = tcp(500, seq=(4_294_967_000 + 1000) % 2**32, flags="PA")
    trains.take(first, second, pushed)
    (joined,) = trains.written
    assert [normal(one) for one in joined.segments()] == [normal(one) for one in (first, second, pushed)]


@pytest.mark.parametrize(("size", "most"), [(1348, 48), (100, 64), (9000, 7), (32000, 2), (1, 64)])
@pytest.mark.parametrize("make", EITHER)
def test_a_train_has_room_for_so_many(trains: Trains, make: Any, size: int, most: int) -> None:
    if make is tcp and size == 1:
        size = 77
    packets = in_a_row(make, most + 1, size)
    trains.take(*packets[:most])
    (joined,) = trains.written
    assert joined.packets == most
    assert len(joined.frame) <= 65_545
    trains.take(packets[most])
    assert frames(trains.flush()[1:]) == alone(packets[most])


@pytest.mark.parametrize("make", EITHER)
@given(data=st.data())
def test_a_damaged_packet_leaves_alone_and_in_order(make: Any, data: st.DataObject) -> None:
    packets = in_a_row(make, 6, data.draw(st.integers(90, 400)))
    number = data.draw(st.integers(0, 5))
    # Anything but the version and lengths: whatever says otherwise there does not come this far.
    at = data.draw(st.integers(4, len(packets[number]) - 1))
    packets[number] = damaged(packets[number], at, data.draw(st.integers(1, 255)))
    with contextlib.closing(Trains()) as trains:
        trains.take(*packets)
        written = trains.flush()
    # If not even the flow is that of the others any more, its place among them does not matter.
    assert [one.frame[10:] for one in written if one.packets == 1].count(packets[number]) == 1
    others = [normal(one) for wrote in written for one in wrote.segments() if one != packets[number]]
    assert others == [normal(one) for one in packets if one is not packets[number]]
    if flow_of(packets[number]) == flow_of(make(0)) and packets[number][9] == make(0)[9]:
        order = [normal(one) for wrote in written for one in wrote.segments()]
        assert order == [normal(one) for one in packets]


@pytest.mark.parametrize("make", EITHER)
def test_flows_in_one_batch_do_not_disturb_each_other(trains: Trains, make: Any) -> None:
    flows = [in_a_row(make, 10, sport=port) for port in range(1, 6)]
    trains.take(*itertools.chain.from_iterable(zip(*flows, strict=True)))
    written = trains.flush()
    assert sorted(one.packets for one in written) == [10] * 5
    expected = sorted([normal(one) for one in flow] for flow in flows)
    assert sorted([normal(one) for one in wrote.segments()] for wrote in written) == expected


@pytest.mark.parametrize("make", EITHER)
def test_flows_of_two_clients_between_the_same_ports_are_two(trains: Trains, make: Any) -> None:
    flows = [in_a_row(make, 5, ip={"src": source}) for source in ("10.80.0.7", "10.80.0.8")]
    for one, other in zip(*flows, strict=True):
        trains.take(one, peer=7)
        trains.take(other, peer=8)
    assert [(written.peer, written.packets) for written in trains.flush()] == [(7, 5), (8, 5)]


def test_tcp_and_udp_between_the_same_ports_are_two_flows(trains: Trains) -> None:
    ports = {"sport": 1000, "dport": 1000}
    segments, datagrams = in_a_row(tcp, 5, **ports), in_a_row(udp, 5, **ports)
    trains.take(*itertools.chain.from_iterable(zip(segments, datagrams, strict=True)))
    assert sorted((one.frame[1], one.packets) for one in trains.flush()) == [(TCPV4, 5), (USO, 5)]


@pytest.mark.parametrize("make", EITHER)
def test_more_flows_than_there_are_trains_are_all_written(trains: Trains, make: Any) -> None:
    flows = [in_a_row(make, 2, sport=port) for port in range(1, 2 * MOST_TRAINS)]
    trains.take(*(first for first, _ in flows), *(second for _, second in flows))
    written = trains.flush()
    for flow in flows:
        mine = [normal(one) for wrote in written for one in wrote.segments() if one[20:22] == flow[0][20:22]]
        assert mine == [normal(one) for one in flow]


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(tcp(0, seq=4_294_968_000 % 2**32), id="an acknowledgement"),
        pytest.param(tcp(500, seq=704, flags="FA"), id="the end of the connection"),
        pytest.param(tcp(500, seq=5000), id="a gap"),
        pytest.param(tcp(500, seq=704, ip={"flags": "MF"}), id="a fragment with ports"),
        pytest.param(tcp(500, ip={"flags": 0, "frag": 5}), id="a fragment without"),
        pytest.param(udp(500, ip={"flags": 0, "frag": 5}), id="a fragment of UDP"),
        pytest.param(tcp(500, seq=704, ip={"options": [b"\x01"] * 4}), id="IP options"),
    ],
)
def test_each_flow_keeps_its_order(trains: Trains, between: bytes) -> None:
    first, second, _, later = in_a_row(tcp, 4)
    trains.take(first, second, between, later)
    joined, *rest = trains.flush()
    assert joined.packets == 2
    assert frames(rest) == alone(between, later)


def test_what_has_no_flow_passes_by(trains: Trains) -> None:
    echo = tcp(100, ip={"proto": 1})
    trains.take(tcp(500), echo)
    assert frames(trains.written) == alone(echo)


def test_without_virtio_headers_every_packet_is_written_as_it_is() -> None:
    packets = [*in_a_row(tcp, 3), *in_a_row(udp, 3)]
    with contextlib.closing(Trains(has_header=False)) as trains:
        trains.take(*packets)
        assert frames(trains.written) == packets


@pytest.mark.parametrize("joins_tcp", [False, True])
def test_only_what_the_device_can_is_joined(*, joins_tcp: bool) -> None:
    with contextlib.closing(Trains(joins_tcp=joins_tcp, joins_udp=not joins_tcp)) as trains:
        trains.take(*in_a_row(tcp, 4), *in_a_row(udp, 4))
        counts = [one.packets for one in trains.flush()]
    assert counts == [1, 1, 1, 1, 4]


def only_single(error: int) -> Any:
    return lambda written: -error if written.packets > 1 else 0


@pytest.mark.parametrize("make", EITHER)
def test_joined_packets_that_are_refused_are_written_one_by_one(trains: Trains, make: Any) -> None:
    packets = in_a_row(make, 5)
    trains.answer = only_single(errno.ENOBUFS)
    trains.take(*packets)
    assert frames(trains.flush()) == alone(*packets)
    trains.answer = lambda _: 0
    trains.take(*packets)
    assert [one.packets for one in trains.flush()] == [5]


@pytest.mark.parametrize(("make", "other"), [(tcp, udp), (udp, tcp)])
def test_a_device_to_which_joined_packets_are_invalid_gets_no_more(trains: Trains, make: Any, other: Any) -> None:
    flows = [in_a_row(make, 6, sport=port) for port in (1, 2, 3)]
    trains.answer = only_single(errno.EINVAL)
    trains.take(*itertools.chain.from_iterable(zip(*(flow[:3] for flow in flows), strict=True)))
    gaps = [make(501, sport=port, **({"seq": 9} if make is tcp else {})) for port in (1, 2)]
    trains.take(gaps[0])
    assert trains.attempts == [3, 1, 1, 1, 1]
    # What already waits is tried once more, and still leaves before what follows.
    trains.take(gaps[1])
    assert trains.attempts == [3, 1, 1, 1, 1] * 2
    trains.take(*itertools.chain.from_iterable(zip(*(flow[3:] for flow in flows), strict=True)))
    written = trains.flush()
    for flow, between in zip(flows, (gaps[:1], gaps[1:], []), strict=True):
        mine = [one.frame[10:] for one in written if one.frame[30:32] == flow[0][20:22]]
        assert mine == [*flow[:3], *between, *flow[3:]]
    trains.answer = lambda _: 0
    trains.take(*flows[0], *in_a_row(other, 6))
    assert [one.packets for one in trains.flush()] == [1] * 6 + [6]


def test_a_device_that_takes_nothing_is_offered_everything(trains: Trains) -> None:
    trains.answer = lambda _: -errno.EIO
    trains.take(*in_a_row(tcp, 3))
    assert trains.flush() == []
    assert trains.attempts == [3, 1, 1, 1]
