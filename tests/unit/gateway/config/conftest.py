from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.unit.gateway.config_files import make_pki

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def pki_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("template") / "pki"
    make_pki(directory)
    return directory


@pytest.fixture
def home(tmp_path: Path, pki_template: Path) -> Path:
    """A directory with a PKI of its own, for a configuration to stand in."""
    shutil.copytree(pki_template, tmp_path / "pki")
    return tmp_path


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory, pki_template: Path) -> Path:
    """The same for tests that only change the configuration."""
    directory = tmp_path_factory.mktemp("home")
    shutil.copytree(pki_template, directory / "pki")
    return directory
