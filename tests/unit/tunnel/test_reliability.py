from __future__ import annotations

import heapq
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.tunnel.vectors import CLIENT, SERVER
from tunnel.errors import BadPacket, HandshakeError
from tunnel.events import CloseReason
from tunnel.reliability import MAX_QUEUED, RECEIVE_WINDOW, SEND_WINDOW, Reliability
from tunnel.wire import ControlPacket, Opcode

OTHER = b"\x77" * 8


def server(*, next_send_id: int = 0, next_receive_id: int = 0, retransmit_after_s: float = 1.0) -> Reliability:
    return Reliability(
        SERVER,
        CLIENT,
        next_send_id=next_send_id,
        next_receive_id=next_receive_id,
        retransmit_after_s=retransmit_after_s,
    )


def from_client(
    message_id: int | None, *acks: int, opcode: Opcode | None = None, payload: bytes = b""
) -> ControlPacket:
    kind = opcode or (Opcode.ACK_V1 if message_id is None else Opcode.CONTROL_V1)
    return ControlPacket(kind, 0, CLIENT, acks, SERVER if acks else None, message_id, payload)


def send(reliability: Reliability, count: int, now: float = 0.0) -> None:
    for number in range(count):
        reliability.send(Opcode.CONTROL_V1, b"message %d" % number, now)


def sent_ids(reliability: Reliability, now: float = 0.0) -> list[int | None]:
    return [packet.message_id for packet in reliability.packets_to_send(now)]


def test_a_message_leaves_once_with_the_next_id_and_both_session_ids() -> None:
    reliability = server(next_send_id=1)
    reliability.receive_untrusted(from_client(0), 0.0)
    reliability.send(Opcode.CONTROL_V1, b"tls", 0.0)
    expected = ControlPacket(Opcode.CONTROL_V1, 0, SERVER, (0,), CLIENT, 1, b"tls")
    assert reliability.packets_to_send(0.0) == [expected]
    assert reliability.packets_to_send(0.0) == []


def test_what_comes_early_waits_for_what_comes_late() -> None:
    reliability = server()
    packets = [from_client(number, payload=b"%d" % number) for number in range(4)]
    assert reliability.receive_untrusted(packets[2], 0.0) == []
    assert reliability.receive_untrusted(packets[1], 0.0) == []
    assert reliability.receive_untrusted(packets[0], 0.0) == packets[:3]
    assert reliability.receive_untrusted(packets[3], 0.0) == packets[3:]


def test_a_repetition_is_delivered_once_and_acknowledged_each_time() -> None:
    reliability = server()
    assert len(reliability.receive_untrusted(from_client(0), 0.0)) == 1
    assert [packet.acks for packet in reliability.packets_to_send(0.0)] == [(0,)]
    assert reliability.receive_untrusted(from_client(0), 0.0) == []
    assert [packet.acks for packet in reliability.packets_to_send(0.0)] == [(0,)]


def test_an_early_repetition_waits_once_and_is_acknowledged() -> None:
    reliability = server()
    for _ in range(3):
        assert reliability.receive_untrusted(from_client(1), 0.0) == []
    assert [packet.acks for packet in reliability.packets_to_send(0.0)] == [(1,)]
    assert len(reliability.receive_untrusted(from_client(0), 0.0)) == 2


def test_the_receive_window_ends_exactly_where_it_should() -> None:
    reliability = server()
    assert reliability.receive_untrusted(from_client(RECEIVE_WINDOW), 0.0) == []
    assert reliability.packets_to_send(0.0) == []
    reliability.receive_untrusted(from_client(RECEIVE_WINDOW - 1), 0.0)
    assert [packet.acks for packet in reliability.packets_to_send(0.0)] == [(RECEIVE_WINDOW - 1,)]


def test_a_packet_beyond_the_window_still_acknowledges() -> None:
    reliability = server()
    send(reliability, 1)
    reliability.packets_to_send(0.0)
    reliability.receive_untrusted(from_client(1000, 0), 0.0)
    assert reliability.all_acknowledged


def test_acknowledgements_without_a_message_go_in_ack_packets_of_eight() -> None:
    reliability = server()
    for number in range(RECEIVE_WINDOW):
        reliability.receive_untrusted(from_client(number), 0.0)
    packets = reliability.packets_to_send(0.0)
    assert [packet.opcode for packet in packets] == [Opcode.ACK_V1] * 2
    assert packets[0].acks == tuple(range(8))
    assert packets[1].acks[:4] == (8, 9, 10, 11)
    assert all(len(packet.acks) <= 8 for packet in packets)


def test_a_message_carries_four_acknowledgements_at_most() -> None:
    reliability = server()
    for number in range(6):
        reliability.receive_untrusted(from_client(number), 0.0)
    send(reliability, 1)
    message, ack = reliability.packets_to_send(0.0)
    assert (message.opcode, message.acks) == (Opcode.CONTROL_V1, (0, 1, 2, 3))
    assert (ack.opcode, ack.acks[:2]) == (Opcode.ACK_V1, (4, 5))


def test_recent_acknowledgements_ride_again_where_there_is_room() -> None:
    reliability = server()
    reliability.receive_untrusted(from_client(0), 0.0)
    reliability.packets_to_send(0.0)
    reliability.receive_untrusted(from_client(1), 0.0)
    send(reliability, 1)
    assert [packet.acks for packet in reliability.packets_to_send(0.0)] == [(1, 0)]


def test_repeated_acknowledgements_alone_are_no_reason_to_send() -> None:
    reliability = server()
    reliability.receive_untrusted(from_client(0), 0.0)
    reliability.packets_to_send(0.0)
    assert reliability.packets_to_send(100.0) == []


def test_an_ack_packet_is_not_acknowledged() -> None:
    reliability = server()
    assert reliability.receive_untrusted(from_client(None, 3), 0.0) == []
    assert reliability.packets_to_send(0.0) == []


def test_four_messages_are_in_flight_and_the_window_moves_with_the_oldest() -> None:
    reliability = server()
    send(reliability, 10)
    assert sent_ids(reliability) == list(range(SEND_WINDOW))
    reliability.receive_untrusted(from_client(None, 1, 2), 0.0)
    assert sent_ids(reliability) == []
    reliability.receive_untrusted(from_client(None, 0), 0.0)
    assert sent_ids(reliability) == [4, 5, 6]


def test_unacknowledged_messages_are_sent_again_with_doubling_patience() -> None:
    reliability = server(retransmit_after_s=1.0)
    send(reliability, 1, now=100.0)
    reliability.packets_to_send(100.0)
    due = []
    for _ in range(4):
        timer = reliability.get_timer()
        assert timer is not None
        reliability.handle_timer(timer - 0.001)
        assert sent_ids(reliability, timer - 0.001) == []
        reliability.handle_timer(timer)
        assert sent_ids(reliability, timer) == [0]
        due.append(timer)
    assert due == [101.0, 103.0, 107.0, 115.0]


def test_no_timer_runs_when_everything_is_acknowledged() -> None:
    reliability = server()
    assert reliability.get_timer() is None
    send(reliability, 1)
    reliability.packets_to_send(0.0)
    assert not reliability.all_acknowledged
    reliability.receive_untrusted(from_client(None, 0), 0.0)
    assert reliability.get_timer() is None
    assert reliability.all_acknowledged


def test_three_later_acknowledgements_bring_a_message_back_at_once() -> None:
    reliability = server()
    send(reliability, 4)
    reliability.packets_to_send(0.0)
    reliability.receive_untrusted(from_client(None, 1, 2), 0.1)
    assert sent_ids(reliability, 0.1) == []
    reliability.receive_untrusted(from_client(None, 1, 2), 0.1)
    assert sent_ids(reliability, 0.1) == []  # repeated acknowledgements count once
    reliability.receive_untrusted(from_client(None, 3), 0.2)
    assert sent_ids(reliability, 0.2) == [0]


def test_a_reliable_transport_never_sees_a_message_twice() -> None:
    reliability = Reliability(SERVER, CLIENT, reliable_transport=True)
    send(reliability, 4)
    assert sent_ids(reliability) == [0, 1, 2, 3]
    reliability.receive_untrusted(from_client(None, 1, 2, 3), 0.1)
    reliability.handle_timer(1000.0)
    assert sent_ids(reliability, 1000.0) == []
    assert reliability.get_timer() is None
    assert not reliability.all_acknowledged


@pytest.mark.parametrize(
    "packet",
    [
        from_client(0, 0)._replace(remote_session_id=OTHER),
        from_client(0)._replace(session_id=OTHER),
        from_client(0)._replace(key_id=1),
    ],
    ids=["acknowledges another session", "from another session", "of another key id"],
)
def test_a_packet_that_belongs_elsewhere_changes_nothing(packet: ControlPacket) -> None:
    reliability = server()
    send(reliability, 1)
    reliability.packets_to_send(0.0)
    with pytest.raises(BadPacket):
        reliability.receive_untrusted(packet, 0.0)
    assert not reliability.all_acknowledged
    assert reliability.packets_to_send(0.0) == []


def test_a_client_learns_the_servers_session_from_the_answer() -> None:
    client = Reliability(CLIENT, None)
    client.send(Opcode.HARD_RESET_CLIENT_V2, b"", 0.0)
    client.packets_to_send(0.0)
    unasked = ControlPacket(Opcode.HARD_RESET_SERVER_V2, 0, OTHER, message_id=0)
    with pytest.raises(BadPacket):
        client.receive_untrusted(unasked, 0.0)
    answer = ControlPacket(Opcode.HARD_RESET_SERVER_V2, 0, SERVER, (0,), CLIENT, 0)
    assert client.receive_untrusted(answer, 0.0) == [answer]
    assert client.remote_session_id == SERVER
    assert [packet.remote_session_id for packet in client.packets_to_send(0.0)] == [SERVER]


def test_a_hard_reset_in_its_turn_is_a_message_whatever_its_id() -> None:
    reset = from_client(1, opcode=Opcode.HARD_RESET_CLIENT_V2)
    for reliability in (server(next_receive_id=1), server()):
        reliability.receive_untrusted(from_client(0), 0.0)
        reliability.packets_to_send(0.0)
        assert reliability.receive_untrusted(reset, 0.0) == [reset]
        assert [packet.acks[0] for packet in reliability.packets_to_send(0.0)] == [1]
        following = from_client(2)
        assert reliability.receive_untrusted(following, 0.0) == [following]


def test_a_hard_reset_ahead_of_its_turn_takes_no_place_in_the_stream() -> None:
    reliability = server()
    assert reliability.receive_untrusted(from_client(1, opcode=Opcode.HARD_RESET_CLIENT_V2), 0.0) == []
    assert reliability.packets_to_send(0.0) == []
    packets = [from_client(0), from_client(1)]
    assert [packet for sent in packets for packet in reliability.receive_untrusted(sent, 0.0)] == packets


def test_a_peer_that_acknowledges_nothing_cannot_make_the_queue_grow_for_ever() -> None:
    reliability = server()
    send(reliability, MAX_QUEUED)
    with pytest.raises(HandshakeError, match="acknowledges nothing") as caught:
        reliability.send(Opcode.CONTROL_V1, b"", 0.0)
    assert caught.value.reason is CloseReason.PROTOCOL_ERROR


@given(st.lists(st.tuples(st.integers(0, 40), st.lists(st.integers(0, 40), max_size=8)), max_size=300))
def test_whatever_arrives_the_buffers_stay_bounded(arrivals: list[tuple[int, list[int]]]) -> None:
    reliability = server()
    send(reliability, 20)
    for message_id, acks in arrivals:
        reliability.receive_untrusted(from_client(message_id, *acks), 0.0)
        assert len(reliability._early) < RECEIVE_WINDOW
        assert len(reliability._pending_acks) <= 2 * RECEIVE_WINDOW
        assert len(reliability._in_flight) <= SEND_WINDOW
        assert len(reliability._recent_acks) <= 8


class LossyLink:
    """Two sides, and a network between them that loses, repeats and reorders."""

    def __init__(self, seed: int, loss: float, repetition: float, jitter_s: float, *, reliable: bool = False) -> None:
        self.dice = random.Random(seed)
        self.loss, self.repetition, self.jitter_s = loss, repetition, jitter_s
        self.sides = (
            Reliability(SERVER, CLIENT, reliable_transport=reliable),
            Reliability(CLIENT, SERVER, reliable_transport=reliable),
        )
        self.received: tuple[list[bytes], list[bytes]] = ([], [])
        self.under_way: list[tuple[float, int, int, ControlPacket]] = []
        self.numbers = itertools.count()
        self.now = 0.0

    def run(self) -> None:
        """Until both sides have everything acknowledged, or for a hundred thousand steps."""
        for _ in range(100_000):
            self.transmit()
            if all(side.all_acknowledged for side in self.sides):
                return
            self.step()
        raise AssertionError("the streams never came to rest")

    def transmit(self) -> None:
        for number, side in enumerate(self.sides):
            for packet in side.packets_to_send(self.now):
                assert len(packet.acks) <= (8 if packet.opcode is Opcode.ACK_V1 else 4)
                copies = 2 if self.dice.random() < self.repetition else 1
                for _ in range(copies):
                    if self.dice.random() >= self.loss:
                        arrival = self.now + 0.01 + self.dice.random() * self.jitter_s
                        heapq.heappush(self.under_way, (arrival, next(self.numbers), 1 - number, packet))

    def step(self) -> None:
        timers = [timer for side in self.sides if (timer := side.get_timer()) is not None]
        arrival = self.under_way[0][0] if self.under_way else float("inf")
        if arrival <= min(timers, default=float("inf")):
            self.now, _, number, packet = heapq.heappop(self.under_way)
            delivered = self.sides[number].receive_untrusted(packet, self.now)
            self.received[number].extend(message.payload for message in delivered)
        else:
            self.now = max(self.now, min(timers))
            for side in self.sides:
                side.handle_timer(self.now)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    loss=st.floats(0, 0.6),
    repetition=st.floats(0, 0.5),
    jitter_s=st.floats(0, 5),
    counts=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
def test_both_streams_arrive_whole_and_in_order_over_a_bad_network(
    seed: int, loss: float, repetition: float, jitter_s: float, counts: tuple[int, int]
) -> None:
    link = LossyLink(seed, loss, repetition, jitter_s)
    messages = [[b"%d/%d" % (side, number) for number in range(counts[side])] for side in (0, 1)]
    for side in (0, 1):
        for message in messages[side]:
            link.sides[side].send(Opcode.CONTROL_V1, message, 0.0)
    link.run()
    assert list(link.received) == messages[::-1]


def test_a_stream_that_loses_nothing_needs_no_timer() -> None:
    link = LossyLink(seed=1, loss=0, repetition=0, jitter_s=0, reliable=True)
    messages = [b"%d" % number for number in range(100)]
    for message in messages:
        link.sides[0].send(Opcode.CONTROL_V1, message, 0.0)
    link.run()
    assert link.received[1] == messages
