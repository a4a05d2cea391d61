"""Levels for the systemd journal: a number in front of each line of standard error, which the journal takes off again.

Without them everything that a service says is of the same level there, and `journalctl -p err` finds nothing.
(sd-daemon(3), `SyslogLevelPrefix=` in systemd.exec(5).)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["leads_to_journal", "with_level"]

_LEVELS = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog(3)'s numbers for the names of `logging`."""


def leads_to_journal(descriptor: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the journal reads what is written to a descriptor; False for one that is closed.

    systemd says so by the stream's device and inode, since a child may have been given another stream.
    """
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def with_level(text: str, level: str) -> str:
    """Put the level, a name of `logging` in lower case, in front of every line."""
    return "\n".join(f"<{_LEVELS[level]}>{line}" for line in text.split("\n"))
