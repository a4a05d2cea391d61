"""Hears from the kernel that something in host networking has changed; what, it does not say.

The reconciliation compares everything anyway, so a notification is only a reason to do it now instead of at the
next round: messages are read and thrown away, and lost ones (`ENOBUFS`) are notifications, too.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from typing import Self

import trio

from gateway.hostnet.errors import KernelRefusedError

__all__ = ["ChangeMonitor"]

_NETLINK_NETFILTER = 12  # linux/netlink.h; the socket module has no name for it
_ROUTE_GROUPS = (1, 5, 7, 8, 24)  # RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV4_NETCONF
_NFTABLES_GROUPS = (7,)  # NFNLGRP_NFTABLES
_MOST_DISCARDED = 1000
"""In one go, so that a storm of changes cannot hold up the loop; the rest is another notification."""


class ChangeMonitor:
    """Two netlink sockets that listen; a context manager. Needs CAP_NET_ADMIN for the second."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        try:
            self._listen(socket.NETLINK_ROUTE, _ROUTE_GROUPS)
            self._listen(_NETLINK_NETFILTER, _NFTABLES_GROUPS)
        except OSError as error:
            self._open.close()
            raise KernelRefusedError("listen for changes of the host's network", error.errno or 0) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    async def wait(self) -> None:
        """Return as soon as there is a notification that has not been discarded."""
        async with trio.open_nursery() as nursery:
            for listener in self._sockets:
                nursery.start_soon(_wait_for_one, listener, nursery.cancel_scope)

    def discard(self) -> None:
        """Forget the notifications that have arrived."""
        for listener in self._sockets:
            for _ in range(_MOST_DISCARDED):
                if not _discard_one(listener):
                    break

    def _listen(self, family: int, groups: tuple[int, ...]) -> None:
        listener = self._open.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family))
        listener.setblocking(False)
        listener.bind((0, sum(1 << (group - 1) for group in groups)))
        self._sockets.append(listener)


async def _wait_for_one(listener: socket.socket, finished: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(listener)
    finished.cancel()


def _discard_one(listener: socket.socket) -> bool:
    try:
        listener.recv(1)  # the rest of a datagram goes with its first octet
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
    return True
