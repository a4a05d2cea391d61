from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from gateway.cli import app, options

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the service's configuration, seen from an empty directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(options, "INSTALLED", tmp_path / "installed.toml")
    monkeypatch.setattr(options, "FIRST", tmp_path / "first.toml")
    return tmp_path / "installed.toml"


def test_the_configuration_here_comes_before_the_installed_one_and_that_before_quickstart_s(installed: Path) -> None:
    assert options.default_config() == options.HERE
    options.FIRST.touch()
    assert options.default_config() == options.FIRST
    installed.touch()
    assert options.default_config() == installed
    options.HERE.touch()
    assert options.default_config() == options.HERE


@pytest.mark.parametrize("words", [["status"], ["endpoint", "list"]])
def test_where_there_is_no_configuration_it_says_where_it_has_looked(installed: Path, words: list[str]) -> None:
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 1
    assert said.stderr.startswith(f"There is no config.toml here, and no {installed} or ")
    named = CliRunner().invoke(app, [*words, "--config", "other.toml"])
    assert named.stderr == "other.toml does not exist.\n"


def test_the_version_is_the_distributions() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"portway {metadata.version('portway')}\n"


def test_no_summary_in_the_list_of_commands_is_cut_short() -> None:
    for page in ([], ["pki"]):
        assert "..." not in CliRunner().invoke(app, [*page, "--help"]).stdout.partition("Commands:")[2]
