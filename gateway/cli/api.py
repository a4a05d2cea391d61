"""`portway api`: the API in the foreground, as systemd runs it beside the gateway."""

from __future__ import annotations

import trio

from gateway.cli.options import ConfigOption  # noqa: TC001 - typer reads the annotations
from gateway.cli.reporting import failing_with_sentences, say
from gateway.config import ConfigError, load_config
from gateway.daemon_log import daemon_log
from gateway.service_manager import ServiceManager
from gateway.store import StoreError

__all__ = ["api"]


def api(config: ConfigOption) -> None:
    """Serve the API, in the foreground.

    EC2's Query API for Client VPN, by HTTPS for whoever has an access key, and on a Unix socket for root and the
    gateway's own user, who need none. Needs no privileges, and no gateway that runs. Its log goes to standard error.

    SIGHUP loads the configuration again, apart from addresses. SIGTERM and Ctrl-C end it; requests in progress have a
    moment to end.
    """
    # HTTP and AWS's models take a third of a second to import, which other commands should not wait for.
    from gateway.api.certificate import CertificateError  # noqa: PLC0415
    from gateway.api.listening import ListenError  # noqa: PLC0415
    from gateway.api.server import serve_api  # noqa: PLC0415

    with failing_with_sentences(ConfigError, StoreError, CertificateError, ListenError):
        loaded = load_config(config)
        service = ServiceManager()
        if not loaded.settings.api.enabled:
            say(f"{config} says `enabled = false` in [api]: there is nothing to serve.")
            service.ready("Disabled by the configuration")  # without which systemd would take the end for a failure
            return
        with daemon_log(loaded.settings.log.format, loaded.settings.log.level):
            trio.run(serve_api, config, loaded, service)
