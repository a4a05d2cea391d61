"""Processes that tests start, with their output in a file that can be waited on.

Owns: starting, watching and ending one child. Knows nothing of what the child is for.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

__all__ = ["LabError", "Process", "eventually"]

POLL_S = 0.02
TAIL_LINES = 40

Answer = TypeVar("Answer")


class LabError(AssertionError):
    """Something in the lab did not come about; the text shows the log that tells why."""


def eventually(get: Callable[[], Answer], *, within_s: float, what: str) -> Answer:
    """Ask again and again until the answer is truthy, and return it; `LabError` once the deadline is over."""
    deadline = time.monotonic() + within_s
    while not (answer := get()):
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {within_s:g} s")
        time.sleep(POLL_S)
    return answer


class Process:
    """One child, started at once, in the background; everything that it says goes to `log`."""

    def __init__(
        self,
        args: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = log.stem
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [str(arg) for arg in args],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number where a signal ended it."""
        return self._child.poll()

    def text(self) -> str:
        """Everything that it has said so far."""
        return self.log.read_text(errors="replace")

    def mark(self) -> int:
        """The place in the log that has been reached; `wait_for` can look for what comes after it."""
        return len(self.text())

    def wait_for(self, pattern: str, *, within_s: float = 20, after: int = 0) -> re.Match[str]:
        """The first match of a regular expression in the log; `LabError` with the log's tail where it does not come."""

        sought = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + within_s
        while True:
            running = self.exit_code is None
            if match := sought.search(self.text(), after):
                return match
            if not running:
                raise LabError(f"{self.name} ended with {self.exit_code}, never said {pattern!r}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} did not say {pattern!r} within {within_s:g} s\n{self.tail()}")
            time.sleep(POLL_S)

    def tail(self) -> str:
        """The last lines of the log, for the text of a failure."""
        lines = self.text().splitlines()[-TAIL_LINES:]
        return "\n".join(f"    {self.name} | {line}" for line in lines)

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait(self, *, within_s: float = 10) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            return self._child.wait(within_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} did not end within {within_s:g} s\n{self.tail()}") from None

    def stop(self, *, within_s: float = 10) -> int:
        """Ask it to end; SIGKILL where it does not listen. Its exit code."""
        if self.exit_code is None:
            self.signal(signal.SIGTERM)
            try:
                return self._child.wait(within_s)
            except subprocess.TimeoutExpired:
                pass
        return self.kill()

    def kill(self) -> int:
        """SIGKILL: no chance to clean up."""
        self._child.kill()
        return self._child.wait()
