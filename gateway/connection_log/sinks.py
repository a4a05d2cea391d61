"""Where the lines of the connection log go: a file, standard output, the systemd journal.

A sink writes one line at a time, in a thread of its own, and says by `OSError` that it could not. It knows nothing of
queues, losses or retries. The file sink uses plain descriptors rather than `logging.handlers`: those keep what they
could not write in a buffer, and would write it again later, in part.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileSink", "JournalSink", "Sink", "StreamSink"]

JOURNAL_SOCKET = "/run/systemd/journal/socket"


class Sink(Protocol):
    """Takes lines. May block; called from one thread at a time."""

    name: str
    """Where lines go, for `portway status`; of two sinks with the same name, one takes the other's place."""
    manner: tuple[object, ...]
    """How they go there: what else a sink was made with."""

    def write(self, line: bytes) -> None:
        """Write one line, newline included; `OSError` where that fails."""

    def reopen(self) -> None:
        """Let go of the file, which somebody may have renamed, and open it again with the next line."""

    def close(self) -> None:
        """Let go of everything. Never raises."""


class FileSink:
    """Appends to a file of mode 0600, and renames it to `.1`, `.2`, … when it would grow beyond its size."""

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        """Write to `path`. `max_bytes` 0 never rotates, for who uses logrotate; `keep` is the number of old files."""
        self.name = f"file {path}"
        self.manner: tuple[object, ...] = (max_bytes, keep)
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor: int | None = None
        self._size = 0
        self._torn = False

    def write(self, line: bytes) -> None:
        """Append the line, in a fresh file where it would not fit."""
        if self._max_bytes and self._descriptor is not None and self._size + len(line) > self._max_bytes:
            self._rotate()
        descriptor = self._open()
        if self._torn:
            line = b"\n" + line  # what a full disk cut short must not spoil the next record
        written = 0
        while written < len(line):
            count = os.write(descriptor, line[written:])
            written += count
            self._size += count
            self._torn = written < len(line)

    def reopen(self) -> None:
        """Close the file; the next line opens whatever is at the path then."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags, 0o600)
            self._size = os.fstat(self._descriptor).st_size
        return self._descriptor

    def _rotate(self) -> None:
        self.close()
        if self._keep == 0:
            self._path.unlink(missing_ok=True)
            return
        for number in range(self._keep - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))


class StreamSink:
    """Writes to a descriptor that is open already: standard output."""

    def __init__(self, descriptor: int, name: str = "stdout") -> None:
        self.name = name
        self.manner: tuple[object, ...] = (descriptor,)
        self._descriptor = descriptor

    def write(self, line: bytes) -> None:
        """Write the line, in as many pieces as the descriptor wants."""
        while line:
            line = line[os.write(self._descriptor, line) :]

    def reopen(self) -> None:
        """Nothing to do: the descriptor belongs to the process."""

    def close(self) -> None:
        """Nothing to do: the descriptor belongs to the process."""


class JournalSink:
    """Sends each line to the systemd journal, in its native protocol: one datagram of `KEY=value` lines."""

    def __init__(self, path: str = JOURNAL_SOCKET, identifier: str = "portway") -> None:
        self.name = "journal"
        self.manner: tuple[object, ...] = (path, identifier)
        self._path = path
        self._prefix = f"PRIORITY=6\nSYSLOG_IDENTIFIER={identifier}\nMESSAGE=".encode()
        self._socket: socket.socket | None = None

    def write(self, line: bytes) -> None:
        """Send the line; journald sees its JSON as the message."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.sendto(self._prefix + line, self._path)

    def reopen(self) -> None:
        """Make a new socket with the next line."""
        self.close()

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
