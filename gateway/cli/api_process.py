"""The API as a child of another command, for who has no service manager to start it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["api_beside"]

END_TIMEOUT_S = 15.0


@contextlib.contextmanager
def api_beside(config: Path) -> Iterator[None]:
    """Run `portway api` for as long as this lasts. Where it cannot serve, it says so itself, and nothing else ends."""
    command = [*_ending_with_parent(), sys.executable, "-m", "gateway", "api", "--config", str(config)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:  # noqa: S603 - our own program
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _ending_with_parent() -> list[str]:
    """A command that has its child told to end when this process is killed, where util-linux is there to do it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []
