"""Tells systemd how the daemon is: the `sd_notify` protocol.

Datagrams of `KEY=value` lines to the socket that `NOTIFY_SOCKET` names (sd_notify(3)); without it every call does
nothing. A manager that does not listen is no reason to stop, so errors are swallowed here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ServiceManager"]


class ServiceManager:
    """The service manager that started this process, or nobody."""

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        process_id: int | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._monotonic_ns = monotonic_ns
        self.watchdog_interval_s = _watchdog_interval(environment, process_id or os.getpid())
        """How often `watchdog` must be called: half of what the manager waits. None where it does not watch."""

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is complete."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. The time is what Type=notify-reload asks for."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon begins to stop."""
        self._send("STOPPING=1", "STATUS=Draining")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        """The daemon is alive."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.setblocking(False)
            notify.sendto("\n".join(lines).encode(), self._address)


def _address(value: str) -> str | None:
    """A path, or a name in the abstract namespace, which systemd writes with @ for its leading NUL."""
    if value.startswith("@"):
        return "\0" + value[1:]
    return value if value.startswith("/") else None


def _watchdog_interval(environment: Mapping[str, str], process_id: int) -> float | None:
    """sd_watchdog_enabled(3): the variable counts only for the process that it names."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if environment.get("WATCHDOG_PID", str(process_id)) != str(process_id):
        return None
    return int(microseconds) / 1_000_000 / 2
