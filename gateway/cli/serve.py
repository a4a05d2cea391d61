"""`portway serve`: the gateway in the foreground, as systemd runs it."""

from __future__ import annotations

import trio

from gateway.cli.options import ConfigOption  # noqa: TC001 - typer reads the annotations
from gateway.cli.reporting import failing_with_sentences
from gateway.config import ConfigError, load_config
from gateway.control_socket import ControlError
from gateway.daemon import serve as run_gateway
from gateway.daemon_log import daemon_log
from gateway.fleet import FleetError
from gateway.hostnet import HostNetworkError
from gateway.planes import PlaneUnavailable
from gateway.reload import ConfigRefused
from gateway.service_manager import ServiceManager
from gateway.state_lock import StateLockError

__all__ = ["serve"]


def serve(config: ConfigOption) -> None:
    """Run the gateway, in the foreground.

    Needs root, or the capabilities CAP_NET_ADMIN and CAP_NET_BIND_SERVICE. Its own log goes to standard error.

    SIGHUP loads the configuration again, as `portway reload` does: only sessions that a change concerns notice, a file
    with a mistake in it changes nothing, and the connection log is opened anew. SIGTERM and Ctrl-C ask all clients to
    reconnect and leave the host's network as it was found.
    """
    refusals = (ConfigRefused, PlaneUnavailable, StateLockError, HostNetworkError, FleetError, ControlError)
    with failing_with_sentences(ConfigError, *refusals):
        loaded = load_config(config)
        with daemon_log(loaded.settings.log.format, loaded.settings.log.level):
            trio.run(run_gateway, config, loaded, ServiceManager())
