"""The TUN device's reading side: draining it in batches.

Buffers: each read makes one `bytes` that holds one packet. (Reading into a buffer made once measures slower, 1.28
against 0.97 µs, because the packet has to be cut out of it.)
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunnel.tun import TunDevice

__all__ = ["drain_tun"]

_LARGEST: Final = 65_535


def drain_tun(tun: TunDevice, take: Callable[[bytes], None], budget: int) -> bool:
    """Take up to `budget` packets that the host routed into the tunnel. Whether there may be more.

    Raises OSError when somebody has deleted the device: without it the plane cannot go on.
    """
    fd, read = tun.fd, os.read
    for _ in range(budget):
        try:
            packet = read(fd, _LARGEST)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _gone(tun, error.errno or errno.EIO) from error
        if not packet:
            raise _gone(tun, errno.ENODEV)
        take(packet)
    return True


def _gone(tun: TunDevice, number: int) -> OSError:
    return OSError(number, f"the TUN device {tun.name} was taken away ({os.strerror(number)}): restart the endpoint")
