from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest
import pytun

from tests.unit.tunnel.namespaced import in_new_namespace
from tunnel.pyplane.tun_side import drain_tun
from tunnel.tun import TunDevice, open_tun


def refusing(*arguments: object) -> Any:
    def create(**_: object) -> Any:
        raise pytun.Error(*arguments)

    return create


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOENT, "modprobe tun.*--device /dev/net/tun"),
        (errno.ENODEV, "modprobe tun"),
        (errno.EPERM, "CAP_NET_ADMIN"),
        (errno.EACCES, "may not open it"),
        (errno.EBUSY, "another program"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_refusal_says_what_to_do(number: int, remedy: str) -> None:
    with pytest.raises(OSError, match=f"cannot create the TUN device 'portway%d'.*{remedy}") as refusal:
        open_tun(create=refusing(number, os.strerror(number)))
    assert refusal.value.errno == number


def test_a_refusal_without_a_number_keeps_its_words() -> None:
    with pytest.raises(OSError, match="Interface name too long"):
        open_tun("x" * 40, create=refusing("Interface name too long"))


@in_new_namespace
def test_the_kernel_numbers_devices_and_removes_them_when_they_close() -> None:
    one, two = open_tun(), open_tun()
    try:
        assert (one.name, two.name) == ("portway0", "portway1")
        assert socket.if_indextoname(one.ifindex) == one.name
        assert not os.get_blocking(one.fileno())
        assert not drain_tun(one, lambda _: None, 1)
    finally:
        one.close()
        two.close()
    one.close()
    assert one.name not in [name for _, name in socket.if_nameindex()]


def test_draining_stops_at_the_budget_and_at_the_end() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        device, taken = TunDevice("tun0", 0, near), list[bytes]()
        for packet in (b"one", b"two", b"three"):
            far.send(packet)
        assert drain_tun(device, taken.append, 2)
        assert taken == [b"one", b"two"]
        assert not drain_tun(device, taken.append, 2)
        assert taken == [b"one", b"two", b"three"]


def test_a_device_that_is_taken_away_is_an_error_with_a_sentence() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near:
        device = TunDevice("tun7", 0, near)
        far.close()
        with pytest.raises(OSError, match="the TUN device tun7 was taken away"):
            drain_tun(device, lambda _: None, 1)
