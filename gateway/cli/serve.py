"""`portway serve`: the gateway in the foreground, as systemd runs it."""

from __future__ import annotations

from pathlib import Path

import trio

from gateway.cli.check import ConfigOption  # noqa: TC001 - typer reads the annotations
from gateway.cli.reporting import failing_with_sentences
from gateway.config import ConfigError, load_config
from gateway.control_socket import ControlError
from gateway.daemon import serve as run_gateway
from gateway.daemon_log import configure_logging
from gateway.fleet import FleetError
from gateway.hostnet import HostNetworkError
from gateway.reload import ConfigRefused
from gateway.service_manager import ServiceManager
from gateway.state_lock import StateLockError

__all__ = ["serve"]


def serve(config: ConfigOption = Path("config.toml")) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; SIGHUP loads the configuration again."""
    with failing_with_sentences(ConfigError, ConfigRefused, StateLockError, HostNetworkError, FleetError, ControlError):
        loaded = load_config(config)
        configure_logging(loaded.settings.log.format, loaded.settings.log.level)
        trio.run(run_gateway, config, loaded, ServiceManager())
