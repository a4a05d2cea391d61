from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import pytest

from tunnel import sockets
from tunnel.plane import Transport
from tunnel.plane_settings import PlaneSettings
from tunnel.sockets import check_free, open_listener, open_udp, open_udp_group

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = IPv4Address("127.0.0.1")


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def group(opened: ExitStack, count: int, port: int = 0) -> list[socket.socket]:
    return [opened.enter_context(sock) for sock in open_udp_group(LOOPBACK, port, count)]


def test_a_group_shares_one_port(opened: ExitStack) -> None:
    members = group(opened, 3)
    assert len({sock.getsockname() for sock in members}) == 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number in range(40):
            client.sendto(bytes([number]), members[0].getsockname())
            received = list[bytes]()
            for sock in members:
                assert not sock.getblocking()
                try:
                    received.append(sock.recv(10))
                except BlockingIOError:
                    continue
            assert received == [bytes([number])]


@pytest.mark.parametrize("holders", [1, 2])
@pytest.mark.parametrize("count", [1, 2])
def test_a_port_that_others_hold_is_refused_even_if_they_share_it_among_themselves(
    opened: ExitStack, holders: int, count: int
) -> None:
    port = group(opened, holders)[0].getsockname()[1]
    expected = f"cannot listen on UDP 127.0.0.1:{port}: another program uses this port"
    with pytest.raises(OSError, match=expected) as refusal:
        group(opened, count, port)
    assert refusal.value.errno == errno.EADDRINUSE


def test_a_socket_alone_shares_with_nobody(opened: ExitStack) -> None:
    (alone,) = group(opened, 1)
    assert alone.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_a_group_that_cannot_be_completed_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()

    def enlarge(sock: socket.socket) -> None:
        asked.append(sock.getsockname()[1])
        if len(asked) == 3:
            raise OSError(errno.ENOBUFS, "no room")

    monkeypatch.setattr(sockets, "enlarge_buffers", enlarge)
    with pytest.raises(OSError, match="no room"):
        open_udp_group(LOOPBACK, 0, 3)
    open_udp(LOOPBACK, asked[0]).close()


def at(port: int, *transports: Transport) -> PlaneSettings:
    return PlaneSettings(LOOPBACK, port, frozenset(transports), IPv4Network("10.8.0.0/24"), IPv4Address("10.8.0.1"))


@pytest.mark.parametrize("held", Transport)
def test_a_port_is_free_for_the_transports_that_nobody_has_it_for(opened: ExitStack, held: Transport) -> None:
    other = Transport.TCP if held is Transport.UDP else Transport.UDP
    holder = group(opened, 2)[0] if held is Transport.UDP else opened.enter_context(open_listener(LOOPBACK, 0))
    port = holder.getsockname()[1]
    check_free(at(port, other))
    check_free(at(port))
    with pytest.raises(OSError, match=f"{port}: another program uses this port"):
        check_free(at(port, *Transport))


def test_what_was_found_free_can_be_had(opened: ExitStack) -> None:
    port = group(opened, 1)[0].getsockname()[1]
    opened.close()
    check_free(at(port, *Transport))
    group(opened, 2, port)
    opened.enter_context(open_listener(LOOPBACK, port))
