"""What a daemon adds to its status, for tests without one."""

from __future__ import annotations

from typing import Any

__all__ = ["daemon_facts"]


def daemon_facts() -> dict[str, Any]:
    return {
        "version": "1",
        "node": "gw1",
        "process_id": 1234,
        "started_at": "2026-06-01T12:00:00+00:00",
        "uptime_s": 60,
        "plane": {"name": "native", "workers": 2, "reason": None},
        "last_reload": None,
        "host_problems": [],
        "closed": [],
        "host_drops": {"security group": 3, "invalid to clients": 0},
        "managed": {
            "store": "sqlite",
            "problem": "",
            "last_known": {"problem": "", "as_of": None},
            "mirror": {"waiting": 0, "lost": {"events": 0, "connections": 0}, "failing": None, "written_at": 1.0},
            "endpoints": {},
        },
    }
