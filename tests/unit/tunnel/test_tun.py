from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest
import pytun

from tests.unit.tunnel.namespaced import in_new_namespace
from tunnel.tun import open_tun


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
    with pytest.raises(OSError, match=f"cannot create a TUN device by /dev/net/tun: .*{remedy}") as refusal:
        open_tun(create=refusing(number, os.strerror(number)))
    assert refusal.value.errno == number


def test_a_refusal_without_a_number_keeps_its_words() -> None:
    with pytest.raises(OSError, match=r"cannot create the TUN device x{40} by .* Interface name too long"):
        open_tun("x" * 40, create=refusing("Interface name too long"))


@in_new_namespace
def test_the_kernel_numbers_devices_and_removes_them_when_they_close() -> None:
    one, two = open_tun(), open_tun()
    try:
        assert (one.name, two.name) == ("portway0", "portway1")
        assert socket.if_indextoname(one.ifindex) == one.name
        assert not os.get_blocking(one.fileno())
        with pytest.raises(BlockingIOError):
            os.read(one.fileno(), 100)
    finally:
        one.close()
        two.close()
    one.close()
    assert one.name not in [name for _, name in socket.if_nameindex()]
