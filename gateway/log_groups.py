"""The log groups of the configuration as the connection log has them: sinks, not yet open."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gateway.connection_log import FileSink, JournalSink, StreamSink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import GatewaySettings, LogGroupSettings
    from gateway.connection_log import Sink

__all__ = ["open_log_groups"]


def open_log_groups(settings: GatewaySettings) -> dict[str, tuple[Sink, ...]]:
    """The sinks of each log group; a file is made with the first line for it."""
    return {name: tuple(_sinks(group)) for name, group in settings.log_groups.items()}


def _sinks(group: LogGroupSettings) -> Iterator[Sink]:
    if group.file is not None:
        yield FileSink(group.file, max_bytes=group.rotate_bytes, keep=group.rotate_keep)
    if group.stdout:
        yield StreamSink(sys.stdout.fileno())
    if group.journal:
        yield JournalSink()
