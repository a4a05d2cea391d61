"""The configuration file: read whole, checked whole, handed on as immutable values.

`load_config` gives the daemon its `Config` or raises `ConfigError`; `check_config` finds everything that is wrong,
what `policy.validate` says included. Must not know what the daemon does with any of it.
"""

from __future__ import annotations

from gateway.config.problems import ConfigError, Problem
from gateway.config.reading import check_config, judge_networks, judge_spec, load_config
from gateway.config.settings import (
    ApiSettings,
    Config,
    EndpointDefaults,
    GatewaySettings,
    LogGroupSettings,
    LogSettings,
    Network,
    StoreSettings,
)

__all__ = [
    "ApiSettings",
    "Config",
    "ConfigError",
    "EndpointDefaults",
    "GatewaySettings",
    "LogGroupSettings",
    "LogSettings",
    "Network",
    "Problem",
    "StoreSettings",
    "check_config",
    "judge_networks",
    "judge_spec",
    "load_config",
]
