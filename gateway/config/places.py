"""What this host cannot give to `[gateway]` and `[api]`: found before the daemon tries to use it.

Owns the sentences for the paths of these sections. Must not know how the daemon uses them. A state directory that does
not exist is no problem, since the daemon makes it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gateway.config.problems import Problem
from gateway.config.values import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.settings import GatewaySettings

__all__ = ["log_problems", "plane_problems", "socket_problems"]

MAX_SOCKET_PATH = 107
"""Octets of `sun_path` (unix(7)), without the zero at its end."""


def socket_problems(settings: GatewaySettings) -> Iterator[Problem]:
    """Whether the kernel takes sockets of these names."""
    for key, path in (("gateway.control_socket", settings.control_socket), ("api.socket", settings.api.socket)):
        size = len(os.fsencode(path))
        if size > MAX_SOCKET_PATH:
            yield Problem(
                key,
                f"{printable(str(path))} has {size} octets, and the path of a Unix socket at most {MAX_SOCKET_PATH}. "
                f"Use a shorter path, as /run/{'portway' if path is settings.control_socket else 'api'}.sock.",
            )


def log_problems(settings: GatewaySettings) -> Iterator[Problem]:
    """Whether the files of the log groups can be made on this host."""
    for index, group in enumerate(settings.log_groups.values()):
        path = group.file
        if path is not None and path.parent != settings.state_dir and not path.parent.is_dir():
            directory = printable(str(path.parent))
            yield Problem(
                f"log_group[{index - 1}].file" if index else "gateway.connection_log.file",
                f"The directory {directory} does not exist, so that nothing would be logged. "
                f"Run `mkdir -p {directory}`.",
            )


def plane_problems(settings: GatewaySettings) -> Iterator[Problem]:
    """Whether the data plane that is asked for can be had."""
    if settings.plane != "native":
        return
    from gateway.planes import native_problem  # noqa: PLC0415 - trio and sockets, for who reads a file

    if text := native_problem():
        yield Problem("gateway.plane", text)
