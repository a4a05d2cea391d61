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


@in_new_namespace
def test_a_program_that_is_started_meanwhile_does_not_keep_the_device() -> None:
    device = open_tun(queues=2)
    try:
        assert not any(map(os.get_inheritable, device.fds))
    finally:
        device.close()


@in_new_namespace
def test_a_device_has_as_many_queues_as_are_asked_for_and_goes_with_the_last() -> None:
    for offload in (True, False):
        device = open_tun(queues=3, offload=offload)
        assert len(set(device.fds)) == 3
        assert device.fd == device.fds[0]
        assert not any(map(os.get_blocking, device.fds))
        device.close()
        assert device.name not in [name for _, name in socket.if_nameindex()]


def test_a_queue_that_is_refused_closes_those_before_it() -> None:
    closed = list[str]()

    class Queue:
        name = "portway3"

        def fileno(self) -> int:
            return -1

        def close(self) -> None:
            closed.append(self.name)

    made = list[str]()

    def create(name: str, flags: int) -> Queue:
        del flags
        made.append(name)
        if len(made) == 3:
            raise pytun.Error(errno.EBUSY, "busy")
        return Queue()

    with pytest.raises(OSError, match="another program"):
        open_tun(queues=4, offload=False, create=create)
    assert made == ["portway%d", "portway3", "portway3"]
    assert closed == ["portway3", "portway3"]
