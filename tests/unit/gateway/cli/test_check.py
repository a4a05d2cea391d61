from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.hostnet import HostNetworkError
from policy import HostFacts
from tests.unit.gateway.config_files import make_pki, write_config

if TYPE_CHECKING:
    from pathlib import Path

MODULE = import_module("gateway.cli.check")
"""The module; the package has the function of that name."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_pki(tmp_path / "pki")
    return tmp_path


def run(config: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["check", "--config", str(config), *options])


def test_a_good_configuration_is_fine(home: Path) -> None:
    result = run(write_config(home), "--no-host")
    assert result.exit_code == 0, result.stdout
    assert result.stderr == f"{home}/config.toml is fine.\n"


def test_a_configuration_without_endpoints_is_fine_and_said_to_have_none(home: Path) -> None:
    result = run(write_config(home, lambda config: config.pop("endpoint")), "--no-host")
    assert result.exit_code == 0, result.stdout
    assert "is fine. It declares no endpoint" in result.stderr


def test_every_problem_is_a_line_that_names_the_key(home: Path) -> None:
    result = run(write_config(home, lambda it: it["endpoint"][0].update(vpn_port=0, prot=1)), "--no-host")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        'endpoint[0].vpn_port (endpoint "main"): Must be at least 1, not 0.',
        'endpoint[0].prot (endpoint "main"): Is no key of this section; did you mean "route"?',
    ]


def test_a_warning_leaves_the_status_0(home: Path) -> None:
    def change(config: dict[str, object]) -> None:
        endpoint = config["endpoint"][0]  # type: ignore[index]
        endpoint["handshake"]["max_half_open_per_prefix"] = 5000

    result = run(write_config(home, change), "--no-host")
    assert result.exit_code == 0
    assert result.stdout.startswith("Warning: endpoint[0].handshake.max_half_open_per_prefix")


def test_the_host_is_looked_at(home: Path) -> None:
    def change(config: dict[str, object]) -> None:
        endpoint = config["endpoint"][0]  # type: ignore[index]
        endpoint["target_network"][0]["interface"] = "no-such-if0"

    result = run(write_config(home, change))
    assert result.exit_code == 1
    assert 'This host has no interface "no-such-if0"' in result.stdout


def test_the_daemon_s_own_devices_are_told_by_its_state_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def facts(daemon_id: str) -> HostFacts:
        asked.append(daemon_id)
        return HostFacts(())

    monkeypatch.setattr(MODULE, "read_host_facts", facts)
    state_dir = home / "state"
    run(write_config(home, lambda config: config["gateway"].update(state_dir=str(state_dir))))
    from gateway.state_lock import daemon_id

    assert asked == [daemon_id(state_dir)]


def test_a_host_that_tells_nothing_is_no_obstacle(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_daemon_id: str) -> HostFacts:
        raise HostNetworkError("no netlink here")

    monkeypatch.setattr(MODULE, "read_host_facts", refuse)
    result = run(write_config(home))
    assert result.exit_code == 0
    assert "This host could not be looked at: no netlink here" in result.stderr


@pytest.mark.parametrize("content", [b"\x7fELF\xff", b"[", b"", b"\xff\xfe["], ids=repr)
def test_no_content_is_answered_with_a_traceback(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    result = run(path)
    assert result.exit_code == 1
    assert result.stdout
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    result = run(tmp_path / "none.toml")
    assert result.exit_code == 1
    assert result.stdout == f"{tmp_path}/none.toml does not exist.\n"
