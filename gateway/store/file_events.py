"""inotify(7), as far as it takes to hear that somebody writes to a file. Linux; owns nothing but a descriptor."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileEvents"]

_IN_MODIFY: Final = 0x2
_BUFFER: Final = 4096


class FileEvents:
    """Hears when a file is written to, by whichever process of this host."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`, also where the host has no room for another watch."""
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._events = os.fdopen(descriptor, "rb", buffering=0)
        try:
            _checked(libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY))
        except OSError:
            self.close()
            raise

    async def wait(self) -> None:
        """Return when it has been written to since the last time."""
        await trio.lowlevel.wait_readable(self._events)
        self._events.read(_BUFFER)

    def close(self) -> None:
        """Hear no more."""
        self._events.close()


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
