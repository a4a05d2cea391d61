from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.udp_offload import SOL_UDP, UDP_SEGMENT, UdpSender, enable_gro, enlarge_buffers, probe_gso, split_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

Message = tuple[list[bytes], int | None]


class Kernel:
    """Stands for a socket: remembers what was sent, and refuses as it is told."""

    def __init__(self, *, joined: int = 0, single: int = 0, knows_gso: bool = True) -> None:
        self.joined, self.single, self.knows_gso = joined, single, knows_gso
        self.sent: list[Message] = []

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (SOL_UDP, UDP_SEGMENT)
        if not self.knows_gso:
            raise OSError(errno.ENOPROTOOPT, "")
        return 0

    def sendmsg(self, packets: Any, ancillary: Any, flags: int, address: Any) -> None:
        assert (flags, address) == (0, ("192.0.2.1", 9))
        sizes = [int.from_bytes(data, "little") for level, kind, data in ancillary if (level, kind) == (17, 103)]
        refusal = self.joined if sizes else self.single
        if refusal:
            raise OSError(refusal, "")
        self.sent.append((list(packets), sizes[0] if sizes else None))


def send(kernel: Kernel, packets: list[bytes], *, offload: bool = True) -> tuple[UdpSender, int]:
    sender = UdpSender(cast("socket.socket", kernel), offload=offload)
    return sender, sender.send(packets, ("192.0.2.1", 9), [])


PACKETS = [b"a" * 100, b"b" * 100, b"c" * 50, b"d" * 100]
SINGLY: list[Message] = [([packet], None) for packet in PACKETS]


def test_equal_packets_go_in_one_call_and_a_shorter_one_ends_it() -> None:
    kernel = Kernel()
    assert send(kernel, PACKETS)[1] == 0
    assert kernel.sent == [(PACKETS[:3], 100), ([PACKETS[3]], None)]


@pytest.mark.parametrize("kernel", [Kernel(), Kernel(knows_gso=False)], ids=["turned off", "unknown to the kernel"])
def test_without_offload_each_packet_goes_alone(kernel: Kernel) -> None:
    sender, failed = send(kernel, PACKETS, offload=not kernel.knows_gso)
    assert (sender.offload, failed, kernel.sent) == (False, 0, SINGLY)


def test_a_device_that_cannot_turns_offload_off_for_good_and_loses_nothing() -> None:
    kernel = Kernel(joined=errno.EIO)
    sender, failed = send(kernel, PACKETS)
    assert (sender.offload, sender.refused, failed, kernel.sent) == (False, True, 0, SINGLY)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EMSGSIZE])
def test_a_run_that_does_not_fit_the_path_goes_one_by_one_this_time(number: int) -> None:
    kernel = Kernel(joined=number)
    sender, failed = send(kernel, PACKETS)
    assert (sender.offload, failed, kernel.sent) == (True, 0, SINGLY)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENETUNREACH, errno.EPERM, errno.ENOBUFS])
def test_refused_packets_are_counted_and_not_tried_again(number: int) -> None:
    kernel = Kernel(joined=number, single=number)
    sender, failed = send(kernel, PACKETS)
    assert (sender.offload, failed, kernel.sent) == (True, 4, [])


@given(sizes=st.lists(st.one_of(st.integers(1, 1500), st.sampled_from([1, 1400, 1424, 9000, 60_000])), max_size=200))
def test_runs_keep_all_packets_in_order_and_within_the_kernels_bounds(sizes: list[int]) -> None:
    packets = [bytes(size) for size in sizes]
    runs = list(split_runs(packets))
    assert [packet for run, _ in runs for packet in run] == packets
    for run, size in runs:
        lengths = [len(packet) for packet in run]
        assert set(lengths[:-1]) <= {size}
        assert lengths[-1] <= size
        assert len(run) <= 64
        assert len(run) == 1 or sum(lengths) <= 65_507


@pytest.mark.parametrize(
    ("release", "good"),
    [
        ("6.1.0-18-amd64", True),
        ("5.12.0", True),
        ("5.11.22-generic", False),
        ("4.19.0", False),
        ("6", False),
        ("odd", False),
    ],
)
def test_old_kernels_do_not_join_what_comes_in(release: str, good: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert enable_gro(sock, release=release) is good


def test_a_socket_that_is_not_udp_has_neither() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        assert not probe_gso(sock)
        assert not enable_gro(sock, release="6.1")


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


def test_buffers_grow(udp: socket.socket) -> None:
    before = udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    enlarge_buffers(udp)
    assert udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= before
