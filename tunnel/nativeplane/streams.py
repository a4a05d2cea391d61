"""The TCP streams of a native plane, as control knows them: accepted here, served by the core.

Owns the listening socket, the paths of streams, and the clock of those that have not said anything yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tunnel.nativeplane.paths import NO_STREAM, stream_path
from tunnel.stream_admission import StreamAdmission

if TYPE_CHECKING:
    import socket

    from tunnel.nativeplane import _core
    from tunnel.nativeplane.paths import NativePath
    from tunnel.plane import Path, PlaneEvents
    from tunnel.plane_settings import StreamLimits

__all__ = ["NativeStreams"]


class NativeStreams:
    """One listening socket and its streams."""

    __slots__ = ("_admission", "_core", "_paths", "_silent", "_timeout_s", "sock")

    def __init__(self, core: _core.Plane, sock: socket.socket, limits: StreamLimits) -> None:
        self.sock = sock
        self._core = core
        self._admission = StreamAdmission(sock, limits)
        self._timeout_s = limits.first_packet_timeout_s
        self._paths: dict[int, Path] = {}
        self._silent: dict[int, float] = {}
        """When each stream must have said something. All may take equally long, so the first is the next."""

    async def run(self, events: PlaneEvents) -> None:
        """Accept streams, and end those that stay silent, until cancelled."""

        def take(sock: socket.socket, path: Path) -> None:
            self._core.add_stream(sock.fileno(), stream_path(path.stream))
            sock.detach()
            self._paths[path.stream] = path
            self._silent[path.stream] = trio.current_time() + self._timeout_s
            events.stream_opened(path)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_silent)
            await self._admission.run(take)

    async def _end_silent(self) -> None:
        """Whoever comes while this sleeps may take longer than it sleeps."""
        while True:
            now = trio.current_time()
            while (first := next(iter(self._silent), None)) is not None and self._silent[first] <= now:
                del self._silent[first]
                self._core.abort_stream(first)
            await trio.sleep_until(self._silent.get(first or 0, now + self._timeout_s))

    def native(self, path: Path) -> NativePath:
        """The core's path of a stream; one that is not this plane's, or has ended, leads nowhere."""
        return stream_path(path.stream if self._paths.get(path.stream) == path else NO_STREAM)

    def path(self, number: int) -> Path | None:
        """The path of a stream, while control knows it."""
        return self._paths.get(number)

    def keep(self, number: int) -> None:
        """A control packet came: somebody above knows this stream now, and decides how long it lives."""
        self._silent.pop(number, None)

    def prove(self, number: int) -> None:
        """A client was let in on this stream, or it has ended: it no longer counts against the strangers."""
        self.keep(number)
        self._admission.prove(number)

    def ended(self, number: int) -> Path | None:
        """The core has closed a stream: forget it. Its path, for the report."""
        self.prove(number)
        self._core.forget_stream(number)
        return self._paths.pop(number, None)

    def end_all(self) -> list[Path]:
        """The workers have stopped, and with them all streams. Their paths, for the reports."""
        return [path for number in tuple(self._paths) if (path := self.ended(number))]
