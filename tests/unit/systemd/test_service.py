"""What must hold for the systemd units: hardened, valid, and in step with the programs that they run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "systemd"
GATEWAY = UNITS / "portway.service"
API = UNITS / "portway-api.service"
MOST_EXPOSURE = {GATEWAY: 1.9, API: 1.1}

needs_systemd_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
each_unit = pytest.mark.parametrize("unit", [GATEWAY, API], ids=lambda unit: unit.stem)


def options(unit: Path, name: str) -> list[str]:
    """Every value of one option, in order."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def analyze(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, check=False)


def test_every_unit_is_looked_at() -> None:
    assert set(UNITS.iterdir()) == {GATEWAY, API}


@needs_systemd_analyze
@each_unit
def test_exposure_is_low(unit: Path) -> None:
    said = analyze("security", "--offline=true", "--no-pager", unit).stdout
    exposure = re.search(rf"Overall exposure level for {unit.name}: ([\d.]+)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= MOST_EXPOSURE[unit], said


@needs_systemd_analyze
@each_unit
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/portway/bin/portway", "/bin/true"))
    result = analyze("verify", "--man=no", copy)
    assert (result.returncode, result.stderr) == (0, "")


def test_only_the_two_capabilities_that_are_needed_are_held() -> None:
    needed = ["CAP_NET_ADMIN CAP_NET_BIND_SERVICE"]
    assert options(GATEWAY, "AmbientCapabilities") == needed
    assert options(GATEWAY, "CapabilityBoundingSet") == needed


def test_the_api_holds_no_capability_and_cannot_speak_of_links_and_routes() -> None:
    assert options(API, "AmbientCapabilities") == [""]
    assert options(API, "CapabilityBoundingSet") == [""]
    assert options(API, "RestrictAddressFamilies") == ["AF_INET AF_INET6 AF_UNIX"]


@each_unit
def test_it_runs_as_a_user_of_its_own_and_tells_systemd_how_it_is(unit: Path) -> None:
    assert options(unit, "User") == ["portway"]
    assert options(unit, "Type") == ["notify"]
    assert options(unit, "WatchdogSec")
    assert options(unit, "ExecReload")


@each_unit
def test_a_start_that_fails_is_tried_again_for_as_long_as_it_takes(unit: Path) -> None:
    assert options(unit, "Restart") == ["on-failure"]
    assert options(unit, "StartLimitIntervalSec") == ["0"]


@pytest.mark.parametrize("tool", ["install", "uninstall"])
@each_unit
def test_it_is_installed_and_removed(tool: str, unit: Path) -> None:
    assert unit.name in (UNITS.parent / "tools" / tool).read_text()
