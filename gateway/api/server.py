"""The API's process: what it opens, in which order, and what goes on beside the requests.

    store ▶ certificate ▶ sockets ▶ ready
    nursery
    ├── HTTPS                     for whoever has a key
    ├── Unix socket               for root and the gateway's own user
    ├── HTTP                      metrics and health, where metrics_listen says so
    ├── housekeeping              renews the certificate, writes down what gathers, collects garbage
    ├── watchdog                  tells systemd that this loop turns
    └── signals                   HUP reads the configuration again; TERM and INT end

It has no capabilities and touches no network but its sockets; the gateways see what it writes into the store.
"""

from __future__ import annotations

import signal
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio
from starlette.applications import Starlette

from gateway.actions.loading import load_actions
from gateway.api.app import Api, build_app
from gateway.api.callers import Callers
from gateway.api.certificate import CertificateError, make_tls_context
from gateway.api.dispatch import Dispatcher
from gateway.api.health import HealthPages
from gateway.api.listening import CONNECTIONS, SOCKET_CONNECTIONS, WATCHERS, HttpServer, listen_tcp, listen_unix
from gateway.config import ConfigError, load_config
from gateway.control_socket import ask
from gateway.garbage import collect_everything, spare_the_long_lived
from gateway.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Config
    from gateway.config.settings import ApiSettings
    from gateway.service_manager import ServiceManager
    from gateway.store import Store

__all__ = ["serve_api"]

HOUSEKEEPING_S = 60.0

logger = structlog.get_logger("api")


async def serve_api(path: Path, config: Config, service: ServiceManager) -> None:
    """Serve the API by the configuration that `path` holds, until SIGTERM or SIGINT.

    Raises `StoreError`, `CertificateError` or `ListenError`, each with a sentence for the administrator, where it
    cannot start.
    """
    settings = config.settings
    opened = await trio.to_thread.run_sync(open_store, settings.store.url, settings.store.key_file)
    try:
        server = _Server(path, config, service, opened)
        await server.run()
    finally:
        opened.close()


class _Server:
    """The parts, and the tasks that keep them going."""

    def __init__(self, path: Path, config: Config, service: ServiceManager, store: Store) -> None:
        self._path = path
        self._settings = config.settings
        self._service = service
        self._callers = Callers(store)
        self._dispatcher = Dispatcher(store, config.settings.api.service, load_actions())
        ask_daemon = partial(ask, config.settings.control_socket)
        self._health = HealthPages(ask_daemon, store)

    async def run(self) -> None:
        """Serve until a signal ends it."""
        api = self._settings.api
        self._tls = await trio.to_thread.run_sync(make_tls_context, self._settings)
        with ExitStack() as sockets:
            addresses = [sockets.enter_context(listen_tcp(address)) for address in api.listen]
            unix = sockets.enter_context(listen_unix(api.socket))
            sockets.callback(api.socket.unlink, missing_ok=True)
            watched = [sockets.enter_context(listen_tcp(address)) for address in api.metrics_listen]
            server = HttpServer(build_app(Api(self._callers, self._dispatcher), self._health.routes()))
            watchers = HttpServer(Starlette(routes=self._health.routes(open_to_all=True)))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_house)
                nursery.start_soon(self._feed_watchdog)
                async with trio.open_nursery() as serving:
                    serving.start_soon(server.run, addresses, CONNECTIONS, lambda: self._tls)
                    serving.start_soon(server.run, [unix], SOCKET_CONNECTIONS)
                    serving.start_soon(watchers.run, watched, WATCHERS)
                    spare_the_long_lived()
                    self._service.ready(self._summary())
                    logger.info("API ready", listen=list(api.listen), socket=str(api.socket))
                    await self._listen_to_signals()
                    self._service.stopping()
                    await server.stop()
                    await watchers.stop()
                nursery.cancel_scope.cancel()
        await trio.to_thread.run_sync(self._callers.write_uses)
        await trio.to_thread.run_sync(partial(self._dispatcher.write_omitted, at_end=True))

    async def _listen_to_signals(self) -> None:
        """Return when the process has to end."""
        with trio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                if number != signal.SIGHUP:
                    return
                self._service.reloading()
                await trio.to_thread.run_sync(self._reload)
                self._service.ready(self._summary())

    def _reload(self) -> None:
        """Take over names, quotas and the certificate; addresses need a restart. Runs in a thread."""
        try:
            settings = load_config(self._path).settings
        except ConfigError as error:
            logger.error("configuration not reloaded", problem=str(error))  # noqa: TRY400 - its sentences are enough
            return
        before, self._settings = self._settings, settings
        self._dispatcher.settings = settings.api.service
        self._renew_certificate()
        if _addresses(settings.api) != _addresses(before.api):
            logger.warning("other addresses need a restart of the API", listen=list(settings.api.listen))

    def _renew_certificate(self) -> None:
        try:
            self._tls = make_tls_context(self._settings)
        except CertificateError as error:
            logger.warning("the API's certificate could not be renewed", problem=str(error))

    async def _keep_house(self) -> None:
        while True:
            await trio.sleep(HOUSEKEEPING_S)
            for work in (
                self._renew_certificate,
                self._callers.write_uses,
                self._dispatcher.write_omitted,
                collect_everything,
            ):
                try:
                    await trio.to_thread.run_sync(work)
                except Exception:
                    logger.exception("housekeeping failed")

    async def _feed_watchdog(self) -> None:
        interval_s = self._service.watchdog_interval_s
        if interval_s is None:
            return
        while True:
            self._service.watchdog()
            await trio.sleep(interval_s)

    def _summary(self) -> str:
        return f"Serving {', '.join(self._settings.api.listen) or self._settings.api.socket}"


def _addresses(api: ApiSettings) -> object:
    return api.listen, api.metrics_listen, api.socket
