"""Times on the command line: `2026-11-01`, `2026-11-01T08:30`, or how long ago: `90m`, `36h`, `7d`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from gateway.cli.reporting import fail

__all__ = ["MOMENT_FORM", "parse_moment"]

MOMENT_FORM = "2026-11-01, 2026-11-01T08:30 (UTC unless it says +01:00), or how long ago: 90m, 36h, 7d"

_AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def parse_moment(text: str | None, *, now: datetime | None = None) -> datetime | None:
    """The moment that is meant; None for None. Ends the command with a sentence where the text is none."""
    if text is None:
        return None
    try:
        if ago := _AGO.fullmatch(text):
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago["unit"]]: int(ago["count"])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise fail(f"{text} is no time. Write it as {MOMENT_FORM}.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
