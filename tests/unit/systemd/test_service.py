"""What must hold for the systemd unit: hardened, valid, and in step with the program that it runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[3] / "systemd" / "portway.service"
MOST_EXPOSURE = 2.0

needs_systemd_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def options(name: str) -> list[str]:
    """Every value of one option, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def analyze(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, check=False)


@needs_systemd_analyze
def test_exposure_is_low() -> None:
    said = analyze("security", "--offline=true", "--no-pager", UNIT).stdout
    exposure = re.search(r"Overall exposure level for portway.service: ([\d.]+)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= MOST_EXPOSURE, said


@needs_systemd_analyze
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/portway/bin/portway", "/bin/true"))
    result = analyze("verify", "--man=no", unit)
    assert (result.returncode, result.stderr) == (0, "")


def test_only_the_two_capabilities_that_are_needed_are_held() -> None:
    needed = ["CAP_NET_ADMIN CAP_NET_BIND_SERVICE"]
    assert options("AmbientCapabilities") == needed
    assert options("CapabilityBoundingSet") == needed


def test_it_runs_as_a_user_of_its_own_and_tells_systemd_how_it_is() -> None:
    assert options("User") == ["portway"]
    assert options("Type") == ["notify"]
    assert options("WatchdogSec")
    assert options("ExecReload") == ["/bin/kill -HUP $MAINPID"]
