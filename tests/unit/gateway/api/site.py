"""The API for tests, in a thread of its own: HTTPS on loopback and a Unix socket, over a store of the test's."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import boto3
import trio
from botocore.config import Config as BotoConfig

from gateway.actions import EndpointDefaults, Role, ServiceSettings
from gateway.actions.loading import load_actions
from gateway.api.app import Api, build_app
from gateway.api.callers import Callers
from gateway.api.certificate import serving_context
from gateway.api.dispatch import Dispatcher
from gateway.api.listening import HttpServer, listen_tcp, listen_unix
from gateway.pki import ServiceCertificate
from tests.unit.gateway.api.keys import add_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.actions import Action
    from gateway.store import Store

__all__ = ["REGION", "SETTINGS", "ApiSite"]

REGION = "eu-central-1"
SETTINGS = ServiceSettings(
    region=REGION,
    account_id="123456789012",
    endpoint_defaults=EndpointDefaults(public_hostname="vpn.example.com"),
    log_groups=("default", "vpn"),
)
ENOUGH_CONNECTIONS = 512


class ApiSite:
    """A running API; a context manager."""

    def __init__(self, store: Store, directory: Path, actions: Mapping[str, Action] | None = None) -> None:
        self.store = store
        self.dispatcher = Dispatcher(store, SETTINGS, load_actions() if actions is None else actions)
        self.callers = Callers(store)
        self.socket = directory / "api.sock"
        self._certificate = ServiceCertificate(directory / "api", directory / "no-pki", "api")
        self._certificate.ensure(["127.0.0.1"])
        self.ca_file = self._certificate.certificate_file
        self._ended = trio.Event()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="api")
        self._boto_clients = ExitStack()

    def __enter__(self) -> Self:
        self._tls = serving_context(self._certificate.certificate_file, self._certificate.key_file)
        self._tcp = listen_tcp("127.0.0.1:0")
        self._unix = listen_unix(self.socket)
        self.port = int(self._tcp.getsockname()[1])
        self.url = f"https://127.0.0.1:{self.port}"
        self._thread.start()
        self._is_up.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._boto_clients.close()
        self.end()
        self._thread.join()

    def end(self) -> None:
        """Have the server end; it has when the context is left."""
        trio.from_thread.run_sync(self._ended.set, trio_token=self._token)

    def client(self, service: str = "ec2", role: Role = Role.ADMIN, *endpoint_ids: str) -> Any:
        """boto3's client with a key of its own."""
        key_id, secret = add_key(self.store, role, *endpoint_ids)
        return self.client_with(service, key_id, secret)

    def client_with(self, service: str, key_id: str, secret: str, **config: Any) -> Any:
        """boto3's client with a given key; it does not try twice unless it is told so."""
        client = boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            verify=str(self.ca_file),
            config=BotoConfig(**{"retries": {"total_max_attempts": 1}, **config}),
        )
        self._boto_clients.callback(client.close)
        return client

    def _serve(self) -> None:
        trio.run(self._run)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        server = HttpServer(build_app(Api(self.callers, self.dispatcher)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, [self._tcp], ENOUGH_CONNECTIONS, lambda: self._tls)
            nursery.start_soon(server.run, [self._unix], ENOUGH_CONNECTIONS)
            self._is_up.set()
            await self._ended.wait()
            await server.stop()
