from __future__ import annotations

import errno
import itertools
import select
import signal
import socket
import threading
from typing import TYPE_CHECKING, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.nativeplane.streams import (
    DEFAULT_LIMITS,
    ENDED,
    MOST_FRAME,
    MOST_RUN,
    OPEN,
    Client,
    Limits,
    NativeStream,
    connect,
    new_stream,
)
from tunnel.errors import BadPacket
from tunnel.stream_framing import StreamFramer, frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

RUN = [bytes([i]) * 500 for i in range(8)]


class Rig:
    """A stream, and its client."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        server, client = connect()
        self.client = Client(client)
        self.stream = NativeStream(server, limits)
        self.taken: list[bytes] = []

    def send(self, packets: list[bytes]) -> bool:
        taken = self.stream.send(packets)
        self.taken += packets if taken else []
        return taken

    def fill(self, packets: list[bytes] = RUN) -> None:
        """Send until nothing more is taken."""
        while self.send(packets):
            assert len(self.taken) < 10_000

    def settle(self) -> None:
        """Fill it until it stays so: what the kernel had under way has arrived, and its buffers are full as well."""
        self.fill()
        while self.stream.epoll.poll(0.2):
            assert self.stream.serve() == OPEN
            self.fill()

    def wait(self) -> int:
        """What epoll says of the stream, as soon as it says something."""
        [(_, ready)] = self.stream.epoll.poll(10)
        return ready

    def drain(self) -> None:
        """Serve the stream and let the client read until nothing waits any more."""
        while self.stream.facts.used:
            assert self.stream.serve() == OPEN
            self.client.read()

    def read_until(self, count: int) -> None:
        """Let the client read until it has so many frames."""
        while len(self.client.frames) < count:
            select.select([self.client.sock], [], [], 10)
            assert self.client.read()

    def read_to_the_end(self) -> None:
        while not self.client.at_end:
            select.select([self.client.sock], [], [], 10)
            self.client.read()

    def close(self) -> None:
        self.stream.free()
        self.client.sock.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


# Reading


def python_frames(octets: bytes) -> tuple[list[bytes], bool]:
    """What the reference makes of a stream, whatever the cuts: its frames, and whether it stays in step."""
    framer, frames = StreamFramer(), list[bytes]()
    try:
        for octet in octets:
            frames += framer.feed_untrusted(bytes([octet]))
    except BadPacket:
        return frames, False
    return frames, True


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted({place % (len(octets) + 1) for place in places} - {0}), len(octets)]
    return [octets[start:end] for start, end in itertools.pairwise(bounds) if start < end]


PACKETS = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.integers(1, MOST_FRAME).map(lambda size: bytes([size % 251]) * size),
)
PIECES = st.one_of(PACKETS.map(frame), PACKETS.map(frame), st.binary(max_size=3))


@given(pieces=st.lists(PIECES, max_size=12), places=st.lists(st.integers(0, 1 << 20), max_size=12))
def test_frames_are_those_of_the_reference_wherever_the_stream_is_cut(pieces: list[bytes], places: list[int]) -> None:
    octets = b"".join(pieces)
    expected, in_step = python_frames(octets)
    server, client = socket.socketpair()
    stream = NativeStream(server)
    states = []
    with client:
        for chunk in cut(octets, places):
            client.sendall(chunk)
            states.append(stream.read())
            if states[-1] == ENDED:
                break
        assert stream.frames == expected
        assert all(state == OPEN for state in states[:-1])
        assert (ENDED in states) is not in_step
    stream.free()


@pytest.mark.parametrize("size", [1, 2, MOST_FRAME - 1, MOST_FRAME])
@pytest.mark.parametrize("room", [MOST_FRAME + 2, MOST_FRAME + 3, 2 * MOST_FRAME])
def test_a_buffer_that_holds_a_frame_is_enough(rig: Rig, size: int, room: int) -> None:
    packets = [bytes([i]) * size for i in range(5)]
    sent = b"".join(map(frame, packets))
    rig.client.sock.setblocking(True)
    writer = threading.Thread(target=rig.client.sock.sendall, args=(sent,))
    writer.start()
    while len(rig.stream.frames) < len(packets):
        rig.wait()
        assert rig.stream.read(room) == OPEN
    writer.join()
    assert rig.stream.frames == packets
    assert rig.stream.facts.partial_used == 0


@pytest.mark.parametrize("size", [0, MOST_FRAME + 1, 0xFFFF])
def test_a_frame_of_no_possible_length_ends_the_stream_after_those_before(rig: Rig, size: int) -> None:
    rig.client.sock.send(frame(b"good") + size.to_bytes(2, "big") + bytes(50) + frame(b"beyond"))
    rig.wait()
    assert rig.stream.read() == ENDED
    assert rig.stream.frames == [b"good"]


def test_only_a_frame_that_is_cut_costs_memory(rig: Rig) -> None:
    rig.client.sock.send(frame(b"whole"))
    rig.wait()
    assert rig.stream.read() == OPEN
    assert not rig.stream.facts.partial
    rig.client.sock.send(frame(b"cut")[:-1])
    rig.wait()
    assert rig.stream.read() == OPEN
    assert rig.stream.facts.partial
    assert rig.stream.frames == [b"whole"]


def test_reading_does_not_wait(rig: Rig) -> None:
    assert rig.stream.read() == OPEN
    assert rig.stream.frames == []


def test_a_client_that_closes_ends_its_stream(rig: Rig) -> None:
    rig.client.sock.send(frame(b"last"))
    rig.client.sock.shutdown(socket.SHUT_WR)
    while rig.wait() & select.EPOLLRDHUP == 0:
        pass
    assert [rig.stream.read(), rig.stream.read()] == [OPEN, ENDED]
    assert rig.stream.frames == [b"last"]


def test_a_client_that_resets_ends_its_stream(rig: Rig) -> None:
    rig.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    rig.client.sock.close()
    assert rig.wait() & select.EPOLLHUP
    assert rig.stream.read() == ENDED


# Writing


@pytest.mark.parametrize(
    "packets",
    [[b"x"], [b"abc", b"def", b"g"], [bytes([i]) for i in range(64)], [b"a" * 1023] * 64, [b"b" * 32_753] * 2],
    ids=["one", "a shorter last one", "the most", "the most octets", "the longest"],
)
def test_each_packet_of_a_run_is_a_frame(rig: Rig, packets: list[bytes]) -> None:
    assert rig.send(packets)
    rig.drain()
    rig.read_until(len(packets))
    assert rig.client.frames == packets


@given(segment=st.integers(1, 3000), count=st.integers(1, 20), last=st.integers(1, 3000))
def test_every_run_arrives_as_its_packets(segment: int, count: int, last: int) -> None:
    packets = [bytes([i]) * segment for i in range(count - 1)] + [b"\xff" * min(last, segment)]
    server, client_socket = socket.socketpair()
    stream, client = NativeStream(server), Client(client_socket)
    assert stream.send(packets or [b"\xff" * segment])
    while stream.facts.used or client.read():
        assert stream.serve() == OPEN
        client.read()
    assert client.frames == packets
    stream.free()
    client_socket.close()


@pytest.mark.parametrize(
    ("size", "segment", "count"), [(0, 0, 0), (0, 5, 1), (6, 5, 1), (5, 5, 2), (65, 1, 65), (65_508, 65_508, 1)]
)
def test_what_is_no_run_is_not_sent(rig: Rig, size: int, segment: int, count: int) -> None:
    assert rig.stream.send_octets(bytes(size), segment, count) == count
    assert rig.client.read() == 0
    assert not rig.stream.facts.aborted


@pytest.mark.parametrize("size", [0, 65_508])
def test_a_control_packet_of_no_possible_length_is_not_sent(rig: Rig, size: int) -> None:
    rig.stream.send_control(bytes(size))
    assert rig.client.read() == 0
    assert not rig.stream.facts.aborted


def test_a_client_that_keeps_up_costs_no_memory_and_no_wake_ups(rig: Rig) -> None:
    for _ in range(50):
        assert rig.send([b"x" * 100])
        rig.read_until(len(rig.taken))
        assert not rig.stream.facts.waiting
        assert rig.stream.ready() == 0
    assert rig.client.frames == rig.taken


def test_what_waits_is_bounded_and_data_beyond_that_is_dropped_whole(rig: Rig) -> None:
    rig.fill()
    assert rig.stream.facts.is_full
    assert DEFAULT_LIMITS.backlog < rig.stream.facts.used <= DEFAULT_LIMITS.backlog + MOST_RUN
    used = rig.stream.facts.used
    assert not rig.send([b"one more"])
    assert rig.stream.facts.used == used


def test_a_slow_client_gets_everything_that_was_taken_in_order(rig: Rig) -> None:
    rig.fill()
    rig.drain()
    rig.read_until(len(rig.taken))
    assert rig.client.frames == rig.taken


def test_when_nothing_waits_any_more_the_memory_is_free_and_nobody_is_woken(rig: Rig) -> None:
    rig.fill()
    rig.drain()
    rig.read_until(len(rig.taken))
    assert not rig.stream.facts.is_full
    assert not rig.stream.facts.waiting
    assert rig.stream.ready() == 0
    assert rig.send([b"again"])
    rig.read_until(len(rig.taken))
    assert rig.client.frames[-1] == b"again"


def test_nobody_is_woken_while_the_client_does_not_read(rig: Rig) -> None:
    rig.settle()
    assert rig.stream.ready() == 0
    while rig.client.read():
        pass
    assert rig.wait() == select.EPOLLOUT


def test_frames_stay_whole_while_the_backlog_goes_round() -> None:
    rig = Rig(Limits(60_000, 0, 5000))
    packets = [b"%04d" % i * 225 for i in range(70)]
    begins = []
    for i in range(300):
        rig.send(packets[i % 60 : i % 60 + 10])
        while rig.stream.facts.used > 50_000:
            assert rig.stream.serve() == OPEN
            rig.client.read(3000)
        begins.append(rig.stream.facts.begin)
    rig.drain()
    rig.read_until(len(rig.taken))
    assert rig.client.frames == rig.taken
    assert sum(0 < after < before for before, after in itertools.pairwise(begins)) > 5
    rig.close()


def test_control_packets_are_taken_when_data_is_not(rig: Rig) -> None:
    rig.fill()
    rig.stream.send_control(b"control")
    rig.drain()
    rig.read_until(len(rig.taken) + 1)
    assert rig.client.frames == [*rig.taken, b"control"]


def test_a_client_that_lets_too_many_control_packets_wait_is_aborted(rig: Rig) -> None:
    rig.fill()
    most = rig.stream.facts.used + DEFAULT_LIMITS.backlog + DEFAULT_LIMITS.control_backlog + 1002
    sent = 0
    while not rig.stream.facts.aborted:
        sent += 1000
        assert sent <= most
        rig.stream.send_control(bytes(1000))
    assert rig.wait() & select.EPOLLHUP
    assert rig.stream.serve() == ENDED
    assert not rig.stream.facts.waiting


def test_a_client_that_is_gone_ends_the_stream_without_a_signal(rig: Rig) -> None:
    signals: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        signals.append(number)

    before = signal.signal(signal.SIGPIPE, note)
    try:
        rig.client.sock.close()
        while rig.send([b"x"]):
            assert len(rig.taken) < 10_000
        assert not rig.send([b"x"])
        rig.stream.send_control(b"x")
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert signals == []
    assert rig.wait() & select.EPOLLHUP
    assert rig.stream.read() == ENDED


class Senders:
    """Threads that send numbered packets to one stream, and control packets in between."""

    def __init__(self, stream: NativeStream) -> None:
        self._stream = stream
        self._stopped = False
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(4)]

    @staticmethod
    def packet(sender: int, number: int) -> bytes:
        return bytes([sender]) + number.to_bytes(2, "big") + bytes([sender]) * (60 + 300 * sender)

    def _send(self, sender: int) -> None:
        sent = 0
        while sent < 300 and not self._stopped:
            if self._stream.send([self.packet(sender, number) for number in range(sent, sent + 10)]):
                sent += 10
                self._stream.send_control(b"control" * 20)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        for thread in self._threads:
            thread.join()

    @property
    def are_done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)


def test_senders_at_the_same_time_never_mix_their_frames() -> None:
    rig = Rig(Limits(8000, 200_000, 5000))
    with Senders(rig.stream) as senders:
        while not senders.are_done or rig.stream.facts.used or rig.client.read():
            assert rig.stream.serve() == OPEN
            rig.client.read()
    rig.read_until(4 * 300 + 4 * 30)
    for sender in range(4):
        mine = [frame for frame in rig.client.frames if frame[0] == sender]
        assert mine == [Senders.packet(sender, number) for number in range(300)]
    assert rig.client.frames.count(b"control" * 20) == 4 * 30
    rig.close()


# Ending


def test_closing_first_writes_what_waits_and_then_shuts_our_side(rig: Rig) -> None:
    rig.fill()
    rig.stream.close()
    rig.drain()
    rig.read_to_the_end()
    assert rig.client.frames == rig.taken
    assert rig.stream.serve() == OPEN
    rig.client.sock.close()
    assert rig.wait() & select.EPOLLRDHUP
    assert rig.stream.serve() == ENDED


def test_closing_when_nothing_waits_shuts_our_side_at_once(rig: Rig) -> None:
    assert rig.send([b"last"])
    rig.stream.close()
    rig.read_to_the_end()
    assert rig.client.frames == [b"last"]


def test_a_stream_that_is_closing_takes_and_gives_nothing(rig: Rig) -> None:
    rig.stream.close()
    assert not rig.send([b"data"])
    rig.stream.send_control(b"control")
    rig.client.sock.send(frame(b"late") + b"\0\0 out of step")
    rig.wait()
    assert rig.stream.read() == OPEN
    assert rig.stream.frames == []
    rig.read_to_the_end()
    assert rig.client.frames == []


def test_frames_of_the_same_read_after_closing_are_discarded(rig: Rig) -> None:
    rig.stream.on_frame = rig.stream.close
    rig.client.sock.send(frame(b"first") + frame(b"second"))
    rig.wait()
    assert rig.stream.read() == OPEN
    assert rig.stream.frames == [b"first"]


def test_closing_takes_a_bounded_time_from_the_first_request(rig: Rig) -> None:
    assert not rig.stream.is_overdue(1 << 40)
    rig.stream.close(1000)
    rig.stream.close(4000)
    assert [rig.stream.is_overdue(now) for now in (1000, 5999, 6000)] == [False, False, True]


def test_aborting_wakes_the_worker_and_discards_what_waits(rig: Rig) -> None:
    rig.fill()
    rig.stream.abort()
    assert not rig.stream.facts.waiting
    assert not rig.send([b"data"])
    assert rig.wait() & select.EPOLLHUP
    assert rig.stream.serve() == ENDED
    rig.stream.end()
    rig.read_to_the_end()
    assert rig.client.frames == rig.taken[: len(rig.client.frames)]
    assert len(rig.client.frames) < len(rig.taken)


def test_nothing_that_arrived_is_handed_over_after_aborting(rig: Rig) -> None:
    rig.client.sock.send(frame(b"late"))
    rig.wait()
    rig.stream.abort()
    assert (rig.stream.read(), rig.stream.write()) == (ENDED, ENDED)
    assert rig.stream.frames == []


def test_an_ended_stream_is_closed_and_may_be_asked_for_anything(rig: Rig) -> None:
    rig.fill()
    rig.stream.end()
    rig.stream.end()
    assert (rig.stream.facts.fd, rig.stream.facts.waiting) == (-1, None)
    assert not rig.send([b"data"])
    rig.stream.send_control(b"control")
    rig.stream.close()
    rig.stream.abort()
    assert (rig.stream.read(), rig.stream.write(), rig.stream.ready()) == (ENDED, ENDED, 0)
    rig.read_to_the_end()


def test_what_epoll_refuses_stays_the_callers() -> None:
    server, client = connect()
    with server, client, socket.socket() as no_epoll:
        assert new_stream(server.fileno(), no_epoll.fileno(), DEFAULT_LIMITS) == (-errno.EINVAL, 0)
        server.send(b"still open")
        assert client.recv(100) == b"still open"
