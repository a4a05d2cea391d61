from __future__ import annotations

import errno
import os
import socket
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.namespaced import in_new_namespace, ip
from tests.unit.tunnel.nativeplane.paths import NOWHERE, Path, octets_of
from tests.unit.tunnel.nativeplane.udp_socket import DEADLINE_S, MOST_MESSAGES, UdpSocket, open_udp
from tunnel.udp_offload import SOL_UDP, UDP_GRO

if TYPE_CHECKING:
    from collections.abc import Iterator

UDP_LITE = 136
ETH_P_IP = 0x0800
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
MOST_OCTETS = 65_507


@pytest.fixture
def here() -> Iterator[UdpSocket]:
    with closing(open_udp()) as udp:
        yield udp


@pytest.fixture
def there() -> Iterator[UdpSocket]:
    with closing(open_udp()) as udp:
        yield udp


def to(udp: UdpSocket) -> Path:
    return Path.to("127.0.0.1", udp.port)


def run(segment: int, count: int, last: int | None = None) -> list[bytes]:
    """Datagrams that can be told apart, but for the shortest."""
    sizes = [segment] * (count - 1) + [segment if last is None else last]
    return [(i.to_bytes(2, "big") * (size // 2 + 1))[:size] for i, size in enumerate(sizes)]


# Preparing


@pytest.mark.parametrize(
    ("host", "family", "wants_local"),
    [
        ("127.0.0.1", socket.AF_INET, False),
        ("0.0.0.0", socket.AF_INET, True),
        ("::1", socket.AF_INET6, False),
        ("::", socket.AF_INET6, True),
    ],
)
def test_what_it_listens_on_decides_whether_answers_name_an_address(host: str, family: int, wants_local: bool) -> None:
    with closing(open_udp(host)) as udp:
        assert (udp.error, udp.facts.family, udp.facts.wants_local) == (0, family, wants_local)


@pytest.mark.parametrize("offload", [True, False])
def test_offload_is_used_where_it_is_asked_for(offload: bool) -> None:
    with closing(open_udp(offload=offload)) as udp:
        assert udp.facts.gso is offload
        assert udp.sock.getsockopt(SOL_UDP, UDP_GRO) == offload


def test_buffers_grow(here: UdpSocket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            most = here.sock.getsockopt(socket.SOL_SOCKET, option)
            assert most >= 2 * plain.getsockopt(socket.SOL_SOCKET, option) or most >= 14 << 20


def test_what_is_no_internet_socket_is_refused() -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, closing(UdpSocket(other)) as udp:
        assert udp.error == -errno.EAFNOSUPPORT


def test_a_descriptor_that_is_not_open_is_refused() -> None:
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.close()
    with closing(UdpSocket(closed)) as udp:
        assert udp.error == -errno.EBADF


# Both ways


def test_a_run_arrives_joined(here: UdpSocket, there: UdpSocket) -> None:
    datagrams = run(1400, 40, 77)
    assert here.send(to(there), datagrams) == 0
    [message] = there.messages(40)
    assert (message.segment, message.datagrams()) == (1400, datagrams)
    assert (message.path.remote, message.path.port) == (octets_of("127.0.0.1"), here.port)
    assert (message.path.local, message.path.scope, message.path.stream) == (NOWHERE, 0, 0)


@pytest.mark.parametrize(("sends_joined", "receives_joined"), [(False, True), (True, False), (False, False)])
def test_where_either_side_has_no_offload_they_arrive_one_by_one(sends_joined: bool, receives_joined: bool) -> None:
    datagrams = run(500, 9, 33)
    with closing(open_udp(offload=sends_joined)) as here, closing(open_udp(offload=receives_joined)) as there:
        assert here.send(to(there), datagrams) == 0
        messages = there.messages(9)
        assert [message.data for message in messages] == datagrams
        assert [message.segment for message in messages] == [len(datagram) for datagram in datagrams]


BOUNDS = [
    (1, 1, 1),
    (1, 64, 1),
    (2, 64, 1),
    (1023, 64, 1023),
    (1023, 64, 1),
    (MOST_OCTETS, 1, MOST_OCTETS),
    (MOST_OCTETS - 1, 2, 1),
    (32_753, 2, 32_753),
]


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize(("segment", "count", "last"), BOUNDS)
def test_runs_at_the_bounds_arrive_whole(offload: bool, segment: int, count: int, last: int) -> None:
    datagrams = run(segment, count, last)
    with closing(open_udp(offload=offload)) as here, closing(open_udp()) as there:
        assert here.send(to(there), datagrams) == 0
        assert there.datagrams(count) == datagrams


@given(data=st.data(), segment=st.integers(1, 20_000), offload=st.booleans())
def test_every_run_arrives_whole_and_in_order(data: st.DataObject, segment: int, offload: bool) -> None:
    count = data.draw(st.integers(1, min(64, MOST_OCTETS // segment)))
    datagrams = run(segment, count, data.draw(st.integers(1, segment)))
    with closing(open_udp(offload=offload)) as here, closing(open_udp()) as there:
        assert here.send(to(there), datagrams) == 0
        assert there.datagrams(count) == datagrams


@pytest.mark.parametrize(
    ("size", "segment", "count"),
    [
        (0, 0, 0),
        (0, 0, 1),
        (0, 10, 1),
        (10, 10, 0),
        (11, 10, 1),
        (10, 10, 2),
        (21, 10, 2),
        (65, 1, 65),
        (MOST_OCTETS + 1, MOST_OCTETS + 1, 1),
        (MOST_OCTETS + 1, MOST_OCTETS, 2),
        (10, 1 << 63, 3),
    ],
)
def test_what_is_no_run_is_not_sent(here: UdpSocket, there: UdpSocket, size: int, segment: int, count: int) -> None:
    assert here.send_octets(to(there), bytes(size), segment, count) == count
    assert there.receive() == []


# Receiving


def test_nothing_is_waited_for(here: UdpSocket) -> None:
    assert here.receive() == []
    assert here.receive(0) == []


@pytest.mark.parametrize("most", [1, 3, MOST_MESSAGES, 1000])
def test_no_more_messages_are_taken_than_asked_for_or_fit(here: UdpSocket, there: UdpSocket, most: int) -> None:
    datagrams = run(10, MOST_MESSAGES + 7)
    for datagram in datagrams:
        here.sock.sendto(datagram, there.sock.getsockname())
    batches = list(there.batches(len(datagrams), most=most))
    assert all(0 < len(batch) <= min(most, MOST_MESSAGES) for batch in batches)
    assert [message.data for batch in batches for message in batch] == datagrams
    assert there.receive() == []


def test_an_empty_datagram_is_one(here: UdpSocket, there: UdpSocket) -> None:
    here.sock.sendto(b"", there.sock.getsockname())
    [message] = there.messages(1)
    assert (message.data, message.segment, message.path.port) == (b"", 0, here.port)


def test_what_one_message_says_of_itself_does_not_stick_to_the_next(here: UdpSocket, there: UdpSocket) -> None:
    assert here.send(to(there), run(100, 5)) == 0
    assert [message.segment for message in there.messages(5)] == [100]
    with closing(open_udp()) as other:
        other.sock.sendto(bytes(300), there.sock.getsockname())
        [message] = there.messages(1)
        assert (message.segment, message.path.port) == (300, other.port)


def test_a_datagram_that_is_cut_off_is_dropped_and_the_next_is_not() -> None:
    # Internet sockets cannot be made to do that; the receiver does not care.
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, closing(UdpSocket(other)) as udp:
        for datagram in (b"before", bytes(70_000), b"after"):
            one.send(datagram)
        assert [message.data for message in udp.receive()] == [b"before", b"after"]


def test_errors_of_earlier_sends_are_passed_over(here: UdpSocket) -> None:
    with closing(open_udp()) as gone:
        port = gone.port
    here.sock.connect(("127.0.0.1", port))
    here.sock.send(b"to nobody")
    with closing(open_udp(port=port)) as back:
        back.sock.sendto(b"hello", here.sock.getsockname())
        assert here.datagrams(1) == [b"hello"]


def test_a_socket_that_is_broken_gives_nothing_and_ends() -> None:
    with closing(open_udp()) as udp:
        udp.facts.fd = -1
        assert udp.receive() == []


# Addresses


@pytest.mark.parametrize(
    ("listen", "ours"),
    [("0.0.0.0", "127.0.0.7"), ("::", "127.0.0.7"), ("::", "::1")],
)
@pytest.mark.parametrize("count", [1, 6])
def test_an_answer_leaves_from_the_address_that_the_client_sent_to(listen: str, ours: str, count: int) -> None:
    client_host = "::1" if ":" in ours else "127.0.0.1"
    with closing(open_udp(listen)) as gateway, closing(open_udp(client_host)) as client:
        assert client.send(Path.to(ours, gateway.port), run(20, count)) == 0
        [message] = gateway.messages(count)
        assert (message.path.remote, message.path.local) == (octets_of(client_host), octets_of(ours))
        assert gateway.send(message.path, run(30, count)) == 0
        [answer] = client.messages(count)
        assert (answer.datagrams(), answer.path.remote) == (run(30, count), octets_of(ours))


def test_a_socket_with_one_address_names_none() -> None:
    with closing(open_udp("::1")) as gateway, closing(open_udp("::1")) as client:
        assert client.send(Path.to("::1", gateway.port), run(20, 1)) == 0
        [message] = gateway.messages(1)
        assert (message.path.remote, message.path.local) == (octets_of("::1"), NOWHERE)


def test_a_socket_cannot_reach_the_other_family(here: UdpSocket) -> None:
    assert here.send(Path.to("::1", here.port), run(20, 3)) == 3


def wait_for_local_route(address: str) -> None:
    """The kernel makes that a moment after it has accepted the address, and the table with the first."""
    command = ["ip", "-6", "route", "show", "table", "local", address]
    # A sanitizer that this process was started with would stop `ip` at a mistake of its own.
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    end = time.monotonic() + DEADLINE_S
    while not subprocess.run(command, capture_output=True, check=False, env=plain).stdout:
        assert time.monotonic() < end, f"no route to {address}"


@in_new_namespace
def test_a_link_local_client_is_answered_on_its_link() -> None:
    ip("address add fe80::1/64 dev lo nodad")
    wait_for_local_route("fe80::1")
    with closing(open_udp("::")) as gateway, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        loopback = socket.if_nametoindex("lo")
        client.bind(("fe80::1", 0, 0, loopback))
        client.sendto(b"question", ("fe80::1", gateway.port, 0, loopback))
        [message] = gateway.messages(1)
        assert (message.path.remote, message.path.scope) == (octets_of("fe80::1"), loopback)
        assert gateway.send(message.path, run(20, 2)) == 0
        assert [client.recv(100), client.recv(100)] == run(20, 2)


# Refusals


def test_a_way_out_that_cannot_segment_turns_it_off_for_good_and_loses_nothing() -> None:
    # On UDP-Lite the kernel answers EIO, as it does before Linux 6.11 where a device has no checksum offload.
    datagrams = run(100, 10, 7)
    with closing(open_udp(protocol=UDP_LITE)) as here, closing(open_udp(protocol=UDP_LITE)) as there:
        assert here.facts.gso
        assert here.send(to(there), datagrams) == 0
        assert (here.facts.gso, here.facts.gso_refusals) == (False, 1)
        assert here.send(to(there), datagrams) == 0
        assert here.facts.gso_refusals == 1
        assert there.datagrams(20) == 2 * datagrams


@in_new_namespace
def test_a_run_that_does_not_fit_the_path_goes_one_by_one_this_time() -> None:
    ip("link set lo mtu 1500")
    with closing(open_udp()) as here, closing(open_udp()) as there:
        assert here.send(to(there), run(2000, 5, 30)) == 0
        assert there.datagrams(5) == run(2000, 5, 30)
        assert (here.facts.gso, here.facts.gso_refusals) == (True, 0)
        assert here.send(to(there), run(1400, 5)) == 0
        assert [message.segment for message in there.messages(5)] == [1400]


@in_new_namespace
def test_datagrams_that_are_refused_do_not_keep_back_the_others() -> None:
    ip("link set lo mtu 1500")
    with closing(open_udp(offload=False)) as here, closing(open_udp()) as there:
        here.sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        assert here.send(to(there), run(2000, 5, 30)) == 4
        assert there.datagrams(1) == run(2000, 5, 30)[-1:]


@in_new_namespace
def test_an_address_without_a_route_takes_nothing() -> None:
    for offload in (True, False):
        with closing(open_udp("0.0.0.0", offload=offload)) as here:
            assert here.send(Path.to("192.0.2.1", 9), run(100, 7)) == 7
            assert here.facts.gso is offload


@in_new_namespace
def test_a_full_send_buffer_takes_what_fits_and_nobody_waits() -> None:
    # Until a neighbour's address is known, the kernel keeps what is for it, on the sender's account.
    ip("link add near type veth peer name far")
    ip("address add 192.0.2.1/24 dev near")
    for device in ("near", "far"):
        ip(f"link set {device} up")
    with closing(open_udp("192.0.2.1", offload=False)) as here, closing(open_packet_socket("far")) as far:
        here.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        neighbour = Path.to("192.0.2.2", 9)
        refused = here.send(neighbour, run(1000, 60))
        assert 0 < refused < 60
        assert here.send(neighbour, run(1000, 60)) == 60
        ip("neighbour replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev near nud permanent")
        assert [far.recv(2000)[28:] for _ in range(60 - refused)] == run(1000, 60)[: 60 - refused]


def open_packet_socket(device: str) -> socket.socket:
    """Takes the IPv4 packets that arrive on a device."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    sock.bind((device, ETH_P_IP))
    sock.settimeout(10)
    return sock
