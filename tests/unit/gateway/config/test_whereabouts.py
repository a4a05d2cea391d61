from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.config import ConfigError, load_config
from gateway.config.whereabouts import find_processes
from tests.unit.gateway.config_files import write_config

if TYPE_CHECKING:
    from pathlib import Path


def test_it_finds_what_the_whole_configuration_says(home: Path) -> None:
    def elsewhere(config: dict[str, dict[str, str]]) -> None:
        config["gateway"] |= {"state_dir": "state", "control_socket": "/run/portway/portway.sock"}
        config["api"]["socket"] = "calls.sock"

    path = write_config(home, elsewhere)
    settings = load_config(path).settings
    found = find_processes(path)
    assert (found.control_socket, found.api_socket) == (settings.control_socket, settings.api.socket)
    assert found.api_socket == home / "state/calls.sock"


def test_a_file_that_says_nothing_means_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    found = find_processes(tmp_path / "config.toml")
    assert str(found.control_socket) == "/var/lib/portway/portway.sock"
    assert str(found.api_socket) == "/var/lib/portway/api.sock"


def test_what_is_wrong_elsewhere_is_no_hindrance(home: Path) -> None:
    path = write_config(home, lambda config: config["endpoint"][0].update(server_key="nowhere.key", vpn_port="many"))
    path.write_text("nonsense = 1\n" + path.read_text())
    with pytest.raises(ConfigError):
        load_config(path)
    assert find_processes(path).control_socket.name == "portway.sock"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("gateway = 1", "gateway"),
        ("[gateway]\nstate_dir = 1", "gateway.state_dir"),
        ("[api]\nsocket = ''", "api.socket"),
    ],
)
def test_a_key_that_is_wrong_is_named(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        find_processes(tmp_path / "config.toml")
    assert [problem.key_path for problem in caught.value.problems] == [key]


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        find_processes(tmp_path / "config.toml")
