"""Moments as AWS Client VPN writes them, in its connection log and its lists: `2026-06-01 12:00:00`, in UTC."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

__all__ = ["timestamp"]

SECONDS_KEPT = 4096
"""Half a megabyte. Lists are read again and again, and of many rows the times are the same: when all were refreshed."""


def timestamp(unix_s: float) -> str:
    """Write the second that a moment is in."""
    return _written(int(unix_s))


@functools.lru_cache(maxsize=SECONDS_KEPT)
def _written(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
