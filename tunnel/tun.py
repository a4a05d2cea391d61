"""The TUN device: opening it, and what the operating system's refusals mean.

Owns the file descriptor that carries inner packets, one per read and write. Must not know addresses, routes or link
state: whoever configures the host does that, by the interface index.

https://docs.kernel.org/networking/tuntap.html
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final, Protocol

import pytun

from tunnel import tun_offload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["TunDevice", "open_tun"]

# IFF_NAPI with a gro_flush_timeout would let the kernel join what is written here; measured, it costs 12 CPU-seconds
# per gigabyte where single writes cost 4.7.

_IFF_MULTI_QUEUE: Final = 0x0100

_REMEDIES: Final = {
    errno.ENOENT: "the kernel module is not loaded: run `modprobe tun`; in a container, pass the device in "
    "(`--device /dev/net/tun`)",
    errno.ENODEV: "the kernel has no TUN driver: run `modprobe tun`",
    errno.ENXIO: "the kernel has no TUN driver: run `modprobe tun`",
    errno.EACCES: "this user may not open it: run as root, or let the service manager allow /dev/net/tun",
    errno.EPERM: "the capability CAP_NET_ADMIN is missing: run as root, or grant it to the service or container",
    errno.EBUSY: "another program holds a device of that name",
    errno.EINVAL: "a device of that name exists with other properties, or the name is longer than 15 characters",
}


class _Handle(Protocol):
    """What a TUN device is to Python: an open file."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


class TunDevice:
    """An open device: each read gives one whole inner packet, each write takes one. Never blocks."""

    __slots__ = ("_handles", "fd", "fds", "ifindex", "name", "offload")

    def __init__(self, name: str, ifindex: int, *handles: _Handle, offload: bool = False) -> None:
        """A handle for each queue keeps its descriptor open; tests pass one end of a datagram socket pair."""
        self.name = name
        self.ifindex = ifindex
        self._handles = handles
        self.fds = tuple(handle.fileno() for handle in handles)
        """One descriptor per queue. The kernel gives all packets of a flow to one of them."""
        self.fd = self.fds[0]
        self.offload = offload
        """Whether each packet, in both directions, has the header of `tun_offload` before it."""
        for fd in self.fds:
            os.set_blocking(fd, False)
            os.set_inheritable(fd, False)  # pytun leaves it so that a child would keep the device alive

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self.fd

    def close(self) -> None:
        """Close all queues, whereupon the kernel removes the device and its addresses and routes. Idempotent."""
        if self.fd >= 0:
            self.fd = -1
            for handle in self._handles:
                handle.close()

    def gone(self, number: int) -> OSError:
        """What to raise when reading from the device fails: somebody has deleted it."""
        reason = os.strerror(number)
        return OSError(number, f"the TUN device {self.name} was taken away ({reason}): restart the endpoint")


def open_tun(
    name_pattern: str = "portway%d",
    *,
    offload: bool = True,
    queues: int = 1,
    create: Callable[..., _Handle] = pytun.TunTapDevice,
) -> TunDevice:
    """Create a TUN device; the kernel puts the first free number in place of `%d`.

    With `offload`, many segments may go in one write where the kernel can do that; `TunDevice.offload` says whether.
    Raises OSError, whose text says what to do about it.
    """
    if offload and (device := _open_with_offload(name_pattern, queues, create)):
        return device
    try:
        handles = _open_queues(name_pattern, 0, queues, create)
    except OSError as error:
        number = error.errno or _number_in(error)
        reason = _REMEDIES.get(number, os.strerror(number) if number else str(error))
        which = "a TUN device" if "%d" in name_pattern else f"the TUN device {name_pattern}"
        raise OSError(number, f"cannot create {which} by /dev/net/tun: {reason}") from error
    return _device(handles, offload=False)


def _open_queues(name_pattern: str, flags: int, queues: int, create: Callable[..., _Handle]) -> list[_Handle]:
    """All queues of one device, or none: the first one makes it, the others join it by its name."""
    flags |= pytun.IFF_TUN | pytun.IFF_NO_PI | (_IFF_MULTI_QUEUE if queues > 1 else 0)
    handles = [create(name=name_pattern, flags=flags)]
    try:
        while len(handles) < queues:
            handles.append(create(name=_name_of(handles[0]), flags=flags))
    except OSError:
        _close_all(handles)
        raise
    return handles


def _open_with_offload(name_pattern: str, queues: int, create: Callable[..., _Handle]) -> TunDevice | None:
    """None when it is refused, for whatever reason: without offload the same reason will turn up again, or none."""
    try:
        handles = _open_queues(name_pattern, tun_offload.IFF_VNET_HDR, queues, create)
    except OSError:
        return None
    if tun_offload.expects_header(handles[0].fileno()):
        return _device(handles, offload=True)
    _close_all(handles)
    return None


def _device(handles: Sequence[_Handle], *, offload: bool) -> TunDevice:
    name = _name_of(handles[0])
    return TunDevice(name, socket.if_nametoindex(name), *handles, offload=offload)


def _name_of(handle: _Handle) -> str:
    return str(handle.name)  # type: ignore[attr-defined]  # pytun's own attribute


def _close_all(handles: Sequence[_Handle]) -> None:
    for handle in handles:
        handle.close()


def _number_in(error: OSError) -> int:
    """The errno of a `pytun.Error`, which carries it as its first argument but not always as `errno`."""
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0
