"""The gateway under the conditions of its systemd unit: two capabilities, no /proc/sys, and a manager that listens."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import Site, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.interop

UNIT = Path(__file__).parents[2] / "systemd" / "portway.service"
PROC_OF_ITS_OWN = 'mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec "$@"'
"""What ProcSubset=pid and ProtectProc=invisible do."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("service"), pki) as site:
        site.gateway.stop()
        yield site


def confinement() -> tuple[str, ...]:
    """The unit's capabilities and nothing beyond, as a command that runs another; root is nobody special in it."""
    held = re.findall(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(), re.MULTILINE)[0].lower().split()
    capabilities = ",".join(["-all", *(f"+{name.removeprefix('cap_')}" for name in held)])
    return (
        *("unshare", "--mount", "sh", "-c", PROC_OF_ITS_OWN, "sh"),
        *("setpriv", "--no-new-privs", "--securebits=+noroot,+noroot_locked"),
        *(f"--{kind}={capabilities}" for kind in ("bounding-set", "inh-caps", "ambient-caps")),
    )


def test_the_units_two_capabilities_are_enough(site: Site) -> None:
    before = site.lab.gateway.network_state()
    site.start_gateway(*confinement())
    status = Path(f"/proc/{site.gateway.pid}/status").read_text()
    assert re.search(r"^CapEff:\t0*1400$", status, re.MULTILINE), status
    with site.client("alice") as client:
        client.wait_connected()
        assert site.reaches_office(client)
    assert site.gateway.stop() == 0
    assert site.lab.gateway.network_state() == before


def test_the_service_manager_is_told_how_things_are(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        heard: list[str] = []

        def hears(word: str) -> bool:
            heard.extend(manager.recv(4096).decode().splitlines())
            return word in heard

        site.start_gateway()
        eventually(lambda: hears("READY=1"), within_s=10, what="ready")
        eventually(lambda: hears("WATCHDOG=1"), within_s=10, what="watchdog")
        heard.clear()
        site.gateway.reload()
        eventually(lambda: hears("READY=1"), within_s=10, what="ready again")
        assert "RELOADING=1" in heard
        site.gateway.stop()
        eventually(lambda: hears("STOPPING=1"), within_s=10, what="stopping")
