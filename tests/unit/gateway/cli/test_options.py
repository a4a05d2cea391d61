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


def test_the_version_is_the_distributions() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"portway {metadata.version('portway')}\n"


def test_no_summary_in_the_list_of_commands_is_cut_short() -> None:
    for page in ([], ["pki"]):
        assert "..." not in CliRunner().invoke(app, [*page, "--help"]).stdout.partition("Commands:")[2]
