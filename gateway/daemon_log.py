"""The daemon's own log: structlog to standard error, for people or as JSON.

Event names are constants and facts are keys. Tracebacks come without local variables, since these may be keys. Where
standard error leads to the systemd journal, each line has its level there too.

Nobody who logs ever waits: a thread writes, and what it cannot write in time is lost, counted, and said as soon as
there is room again. Standard error may be a pipe that nobody reads, or closed; the daemon goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import select
import sys
import threading
import time
from typing import TYPE_CHECKING

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from gateway.journal import leads_to_journal, with_level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["daemon_log"]

LINES_WAITING = 1000
"""Lines that may wait to be written; with a traceback of some kilobytes in each, a few megabytes."""
PAUSE_S = 0.05
"""How long a line may wait that follows closely on another."""
_LEVEL_WIDTH = 9
_EVENT_WIDTH = 30
_BEYOND_PLAIN = frozenset({"exc_info", "exception", "stack", "stack_info", "logger", "logger_name"})
"""Keys that structlog gives a meaning of their own."""
_HARMLESS = re.compile(r"[^ \t=\r\n\"']*")
LAST_LINES_S = 1.0
"""How long the end waits for what was said last."""


@contextlib.contextmanager
def daemon_log(log_format: str, level: str, descriptor: int | None = None) -> Iterator[None]:
    """Have structlog write to a descriptor, standard error's if none is given, for the whole process.

    `log_format` is `console` or `json`, `level` a name of `logging`.
    """
    descriptor = sys.stderr.fileno() if descriptor is None else descriptor
    writer = _Writer(descriptor)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_for_journal(_renderers(log_format, colors=os.isatty(descriptor)), descriptor),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(writer),  # type: ignore[arg-type]  # write and flush only
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        writer.close()
        structlog.reset_defaults()


def _renderers(log_format: str, *, colors: bool) -> list[Processor]:
    if log_format == "json":
        return [
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(default=str),
        ]
    console = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    return [console if colors else _PlainRenderer(console)]


def _for_journal(renderers: list[Processor], descriptor: int) -> list[Processor]:
    if not leads_to_journal(descriptor):
        return renderers
    *others, last = renderers

    def render_with_level(logger: WrappedLogger, name: str, event: EventDict) -> str:
        level = event["level"]  # which rendering may take away
        return with_level(str(last(logger, name, event)), level)

    return [*others, render_with_level]


class _PlainRenderer:
    """Writes what structlog's renderer for people does without colours, at a tenth of its cost.

    Each client that comes or goes has a line.
    """

    def __init__(self, console: structlog.dev.ConsoleRenderer) -> None:
        """`console` renders what has more than one line."""
        self._console = console

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> str:
        if not _BEYOND_PLAIN.isdisjoint(event) or not isinstance(event["event"], str):
            return self._console(logger, name, event)
        head = f"{event.pop('timestamp')} [{event.pop('level'):<{_LEVEL_WIDTH}}] {event.pop('event'):<{_EVENT_WIDTH}}"
        return " ".join([head, *[f"{key}={_plain(event[key])}" for key in sorted(event)]]).rstrip(" ")


def _plain(value: object) -> str:
    """Text as it is where nobody can take it for more than one fact; everything else as Python shows it."""
    return value if isinstance(value, str) and _HARMLESS.fullmatch(value) else repr(value)


class _Writer:
    """Takes text at once, and writes it in a thread of its own.

    To a descriptor, since a thread that is stuck in a stream of Python's would hold that stream's lock, and the process
    could not end; to one of its own, since it may be stuck for longer than the caller keeps the other.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._waiting: queue.Queue[str | None] = queue.Queue(LINES_WAITING)
        self._lost = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="daemon log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            with self._counting:
                self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Nothing to do: what was taken is on its way."""

    def close(self) -> None:
        """Write what waits, as far as that can be done in time."""
        try:
            self._waiting.put(None, timeout=LAST_LINES_S)
        except queue.Full:
            self._drop_all()
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(None)
        self._thread.join(LAST_LINES_S)

    def _drop_all(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()

    def _run(self) -> None:
        piece = self._wait()
        while piece is not None:
            following = self._take()
            while following and len(piece) + len(following) <= select.PIPE_BUF:
                piece += following
                following = self._take()
            with contextlib.suppress(OSError):  # nobody reads this log any more
                self._write_out(piece)
            if self._lost and self._waiting.qsize() < LINES_WAITING // 2:
                self._admit_loss()
            piece = self._wait() if following == b"" else following
        os.close(self._descriptor)

    def _wait(self) -> bytes | None:
        """Wait for a line, but not at once for another: to wake this thread costs who logs more than the line does."""
        if self._waiting.empty():
            time.sleep(PAUSE_S)
        return _encode(self._waiting.get())

    def _take(self) -> bytes | None:
        """A line that waits already; nothing where none does, and None at the end.

        Lines leave together, as many as nobody else's can come between in a pipe: each time that this thread writes,
        those who work have to let it in again.
        """
        try:
            return _encode(self._waiting.get_nowait())
        except queue.Empty:
            return b""

    def _write_out(self, octets: bytes) -> None:
        left = memoryview(octets)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _admit_loss(self) -> None:
        with self._counting:
            lost, self._lost = self._lost, 0
        structlog.get_logger("log").error("lines of this log were lost", lines=lost)


def _encode(text: str | None) -> bytes | None:
    return None if text is None else text.encode(errors="backslashreplace")
