"""What the daemon and the API need to know apart from endpoints: where they keep things, what they offer and log.

Plain values. Must not know the file that they come from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gateway.actions.settings import EndpointDefaults
from gateway.object_ids import subnet_id, vpc_id
from policy import TargetNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv4Network
    from pathlib import Path

    from gateway.actions import ServiceSettings
    from policy import GatewaySpec, SecurityGroup

__all__ = [
    "ApiSettings",
    "Config",
    "EndpointDefaults",
    "GatewaySettings",
    "LogGroupSettings",
    "LogSettings",
    "Network",
    "StoreSettings",
]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the daemon's own log, on standard error, looks."""

    level: str = "info"
    """`debug`, `info`, `warning` or `error`: the least that is written."""
    format: str = "console"
    """`console` for people, `json` for machines."""


@dataclass(frozen=True, slots=True)
class LogGroupSettings:
    """Where the records of a log group go; any combination of sinks, none included."""

    file: Path | None
    """One JSON object a line; None writes no file."""
    rotate_bytes: int = 100 * 1024 * 1024
    """The file is rotated before it grows beyond this; 0 leaves that to others, who then send SIGHUP."""
    rotate_keep: int = 10
    """How many rotated files are kept."""
    stdout: bool = False
    journal: bool = False
    """Sends to the systemd journal directly."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The `[store]` section: the database that API, command line and gateways meet in."""

    url: str = field(repr=False)
    """SQLAlchemy's, complete; it may hold a password."""
    key_file: Path
    """The key that seals secrets in it."""
    connection_log_days: int = 90
    """For how many days things are kept; 0 for ever."""
    usage_days: int = 400
    audit_days: int = 400


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The `[api]` section: what `portway api` serves, and where."""

    enabled: bool
    listen: tuple[str, ...]
    """Addresses with ports, as `127.0.0.1:8443` and `[::1]:8443`; HTTPS."""
    socket: Path
    """The Unix socket, for callers without keys."""
    certificate: Path | None
    """None for one that the built-in authority issues."""
    private_key: Path | None
    """There exactly where `certificate` is."""
    public_hostname: str
    """By which callers elsewhere reach the API; empty where there are none."""
    metrics_listen: tuple[str, ...]
    """Addresses with ports where metrics are, and what is wrong, for whoever reaches them; HTTP."""
    service: ServiceSettings
    """What actions have to know."""


@dataclass(frozen=True, slots=True)
class Network:
    """A `[[network]]`: a network of this host's that endpoints made at run time may reach. AWS's subnet."""

    name: str
    cidr: IPv4Network
    interface: str
    next_hop: IPv4Address | None
    zone: str
    vpc: str
    nat: bool

    @property
    def subnet_id(self) -> str:
        """The id that the API knows it by."""
        return subnet_id(self.name)

    @property
    def vpc_id(self) -> str:
        """The id of its VPC."""
        return vpc_id(self.vpc)

    def target(self, name: str, security_groups: tuple[SecurityGroup, ...] | None = None) -> TargetNetwork:
        """The same as an endpoint has it."""
        return TargetNetwork(name, self.interface, self.cidr, self.nat, self.next_hop, security_groups)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What one daemon has once: the `[gateway]` section, and those beside it."""

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
    log_groups: Mapping[str, LogGroupSettings]
    """By their names: `DEFAULT_LOG_GROUP`, of `[gateway.connection_log]`, and those of `[[log_group]]`."""
    log_refresh_s: int
    """How often the counters of a running session are logged anew."""
    store: StoreSettings
    api: ApiSettings
    endpoint_defaults: EndpointDefaults


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that was read and found usable by itself; `policy.validate` judges what the spec means."""

    settings: GatewaySettings
    spec: GatewaySpec
    """The endpoints that the file declares."""
    networks: tuple[Network, ...]
    """What this host offers to endpoints made at run time."""
    files: tuple[Path, ...]
    """Every file that went into it, the configuration's own first: when one changes, it is time to load again."""
