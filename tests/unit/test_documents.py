"""The documents say what is true, as far as a program can tell."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from gateway.config.models import Gateway
from gateway.config.models_service import OfferedNetwork
from tests.documents import PARTS, ROOT, render

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)


@pytest.mark.parametrize("document", PARTS)
def test_generated_parts_are_up_to_date(document: str) -> None:
    assert (ROOT / document).read_text() == render(document), "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_that_are_named_exist(document: Path) -> None:
    paths = re.findall(r"`((?:tunnel|policy|gateway|tests|systemd)/[\w/.]*)`", document.read_text())
    assert not [path for path in paths if not (ROOT / path).exists() and not (ROOT / f"{path}.py").exists()]


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"make ([a-z]+)\b", (ROOT / "README.md").read_text()))
    assert named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"portway ([a-z]+)(?: |$|`)", (ROOT / "README.md").read_text(), re.MULTILINE))
    shown = subprocess.run(
        [sys.executable, "-c", "from gateway.cli import main; main()", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "serve" in named
    assert not [command for command in named if not re.search(rf"\b{command}\b", shown)]


def test_the_readmes_toml_is_toml() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    endpoint, network, gateway = (tomllib.loads(block) for block in blocks)
    assert endpoint["endpoint"][0]["route"]
    assert OfferedNetwork.model_validate(network["network"][0])
    assert Gateway.model_validate(gateway["gateway"]) == Gateway()
