"""The command line in front of a running API, as a person at the gateway's host has it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from tests.lab.config import build_toml
from tests.unit.gateway.actions.authorities import publish_both
from tests.unit.gateway.actions.rows import add_network
from tests.unit.gateway.api.site import ApiSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

CONFIG = {"network": [{"name": "office", "interface": "eth1", "cidr": "10.20.0.0/24"}]}


@pytest.fixture
def store_engine() -> str:
    return "sqlite"  # what the engines differ in, actions are tested for


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Iterator[ApiSite]:
    with ApiSite(store, tmp_path) as site:
        yield site


class Terminal:
    """Types commands, and reads what they print."""

    def __init__(self, config: Path) -> None:
        self._config = str(config)

    def type(self, *words: str, **environment: str) -> Result:
        return CliRunner().invoke(app, [*words, "--config", self._config], env=environment)

    def ok(self, *words: str) -> str:
        result = self.type(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def refused(self, *words: str) -> str:
        result = self.type(*words)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert isinstance(result.exception, SystemExit)  # and no traceback
        return result.stderr


@pytest.fixture
def terminal(site: ApiSite, tmp_path: Path) -> Terminal:
    config = tmp_path / "config.toml"
    config.write_text(
        build_toml(CONFIG | {"gateway": {"state_dir": str(tmp_path)}, "api": {"socket": site.socket.name}})
    )
    return Terminal(config)


@pytest.fixture
def arns(store: Store) -> Arns:
    """A server's certificate and an authority, as the gateway publishes those of its own."""
    return publish_both(store)


@pytest.fixture
def office(store: Store) -> str:
    """A network that the host offers."""
    return add_network(
        store, "subnet-0123456789abcdef0", name="office", cidr="10.20.0.0/24", zone="office", next_hop="10.20.0.1"
    )


@pytest.fixture
def staff(terminal: Terminal, arns: Arns) -> str:
    """An endpoint that is called so."""
    made = terminal.json(
        *("endpoint", "create", "--name", "staff", "--client-cidr-block", "10.90.0.0/22"),
        *("--server-certificate", arns.server, "--client-root", arns.root),
    )
    return str(made["ClientVpnEndpointId"])
