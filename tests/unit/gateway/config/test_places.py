from pathlib import Path

import pytest

from gateway.config import ConfigError, check_config, load_config
from policy import HostFacts
from tests.unit.gateway.config_files import Table, write_config


def with_gateway(home: Path, **settings: object) -> Path:
    def change(config: Table) -> None:
        config["gateway"].update(settings)

    return write_config(home, change)


def sentences(config: Path) -> list[str]:
    """What `check` says of the daemon's own section on a host without interfaces."""
    problems = check_config(config, lambda _: HostFacts(()))
    return [str(problem) for problem in problems if problem.key_path.startswith("gateway.")]


@pytest.mark.parametrize("name", ["s" * 106, "ö" * 53])
def test_a_socket_path_that_the_kernel_would_not_take_is_refused(shared_home: Path, name: str) -> None:
    longest = with_gateway(shared_home, control_socket=f"/{name}")
    assert sentences(longest) == []
    load_config(longest)
    config = with_gateway(shared_home, control_socket=f"/{name}x")
    assert [sentence.partition(": ")[0] for sentence in sentences(config)] == ["gateway.control_socket"]
    with pytest.raises(ConfigError, match="has 108 octets, and the path of a Unix socket at most 107"):
        load_config(config)


def test_what_else_is_wrong_is_said_with_it(shared_home: Path) -> None:
    def change(config: Table) -> None:
        config["gateway"]["control_socket"] = "s" * 108
        config["endpoint"][0]["server_key"] = "nowhere.key"

    problems = check_config(write_config(shared_home, change))
    assert {problem.key_path for problem in problems} >= {"gateway.control_socket", "endpoint[0].server_key"}


def test_a_log_whose_directory_is_missing_is_found_where_this_host_is_looked_at(tmp_path: Path, home: Path) -> None:
    config = with_gateway(home, connection_log={"file": str(tmp_path / "logs/connections.log")})
    (sentence,) = sentences(config)
    assert sentence.startswith(f"gateway.connection_log.file: The directory {tmp_path}/logs does not exist")
    assert check_config(config) == ()
    (tmp_path / "logs").mkdir()
    assert sentences(config) == []


def test_so_is_that_of_another_log_group(tmp_path: Path, home: Path) -> None:
    def change(config: Table) -> None:
        config["log_group"] = [{"name": "a", "journal": True}, {"name": "b", "file": str(tmp_path / "logs/b.log")}]

    problems = check_config(write_config(home, change), lambda _: HostFacts(()))
    assert [one.key_path for one in problems if one.key_path.startswith("log_group")] == ["log_group[1].file"]


def test_the_state_directory_need_not_exist(tmp_path: Path, home: Path) -> None:
    assert sentences(with_gateway(home, state_dir=str(tmp_path / "state"))) == []
    assert sentences(with_gateway(home, state_dir=str(tmp_path / "state"), connection_log={"file": ""})) == []


def test_a_native_plane_that_cannot_be_had_here_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.planes.native_problem", lambda: "It cannot be had.")
    assert sentences(with_gateway(home, plane="native")) == ["gateway.plane: It cannot be had."]
    assert check_config(with_gateway(home, plane="native")) == ()
    assert sentences(with_gateway(home, plane="auto")) == sentences(with_gateway(home, plane="python")) == []
