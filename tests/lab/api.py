"""`portway api` beside a gateway, or alone: EC2's Query API over a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.api.client import ApiClient
from gateway.config import load_config
from tests.lab.gateway import PORTWAY
from tests.lab.process import Process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespace import Namespace

__all__ = ["Api"]


class Api(Process):
    """A running `portway api` that answers."""

    def __init__(self, namespace: Namespace, config: Path, *, log: Path) -> None:
        self.config = config
        super().__init__(namespace.command(PORTWAY, "api", "--config", config), log=log)
        self._socket = load_config(config).settings.api.socket
        try:
            self.wait_for("API ready")
        except BaseException:
            self.kill()
            raise

    def client(self) -> ApiClient:
        """Calls it by its Unix socket, which can be reached from every namespace."""
        return ApiClient.at_socket(self._socket)
