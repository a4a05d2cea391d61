"""What the daemon itself needs to know, apart from its endpoints: where it keeps things and how it logs.

Plain values. Must not know the file that they come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from policy import GatewaySpec

__all__ = ["Config", "ConnectionLogSettings", "GatewaySettings", "LogSettings"]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the daemon's own log, on standard error, looks."""

    level: str = "info"
    """`debug`, `info`, `warning` or `error`: the least that is written."""
    format: str = "console"
    """`console` for people, `json` for machines."""


@dataclass(frozen=True, slots=True)
class ConnectionLogSettings:
    """Where the connection log goes; any combination of sinks, none included."""

    file: Path | None
    """One JSON object a line; None writes no file."""
    rotate_bytes: int = 100 * 1024 * 1024
    """The file is rotated before it grows beyond this; 0 leaves that to others, who then send SIGHUP."""
    rotate_keep: int = 10
    """How many rotated files are kept."""
    stdout: bool = False
    journal: bool = False
    """Sends to the systemd journal directly."""
    refresh_s: int = 60
    """How often the counters of a running session are logged anew."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The `[gateway]` section: what one daemon has once."""

    state_dir: Path
    """Where the daemon keeps what must survive a restart."""
    control_socket: Path
    """The Unix socket for `portway connections`, `terminate`, `status` and `explain`."""
    pki_dir: Path
    """The directory of `portway pki`: profiles come from it, and the daemon renews its CRL. It need not exist."""
    node: str
    """This host's name in the connection log."""
    plane: Literal["auto", "native", "python"]
    """Which data plane moves packets; `auto` is the native one where it can be had."""
    workers: int
    """Threads of the native data plane for each endpoint; 0 for as many as there are cores."""
    log: LogSettings
    connection_log: ConnectionLogSettings


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that was read and found usable by itself; `policy.validate` judges what the spec means."""

    settings: GatewaySettings
    spec: GatewaySpec
    files: tuple[Path, ...]
    """Every file that went into it, the configuration's own first: when one changes, it is time to load again."""
