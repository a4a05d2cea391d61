"""The lab itself, proved with OpenVPN's own server: what fails here is not Portway's fault."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bench.scenarios import Setting
from tests.bench.servers import PORT, Material, OpenVpnServer, client_profile
from tests.lab import OFFICE_HOST, Lab, LabError, Namespace, OpenVpnClient, Process, start_relay
from tests.lab.namespace import sweep_leftovers
from tests.lab.relay import Impairment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.interop


@dataclass(frozen=True)
class Reference:
    lab: Lab
    server: Process
    profile: Path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    directory = tmp_path_factory.mktemp("reference")
    material, setting = Material.make(directory), Setting()
    with Lab(directory) as lab, OpenVpnServer().start(lab, material, setting) as server:
        lab.start_web_servers()
        yield Reference(lab, server, client_profile(lab, material, setting))


def test_a_client_connects_and_reaches_the_office(reference: Reference) -> None:
    lab = reference.lab
    with OpenVpnClient(lab.client, reference.profile, log=lab.log("client")) as client:
        connected = client.wait_connected()
        assert connected.cipher == "AES-256-GCM"
        assert "route 10.20.0.0 255.255.255.0" in connected.pushed
        assert client.ping(OFFICE_HOST)
        assert lab.fetch(OFFICE_HOST, "/whoami") == connected.address


def test_a_bad_path_is_survived(reference: Reference) -> None:
    lab = reference.lab
    relay = start_relay(lab, PORT, Impairment(loss=0.05, duplicate=0.1, reorder=0.2))
    with relay, OpenVpnClient(lab.client, relay.detour(reference.profile), log=lab.log("client")) as client:
        client.wait_connected(within_s=60)
        assert client.ping(OFFICE_HOST, within_s=10)


def test_a_client_may_move(reference: Reference) -> None:
    lab = reference.lab
    relay = start_relay(lab, PORT, via=("198.18.1.2", "198.18.1.3"))
    with relay, OpenVpnClient(lab.client, relay.detour(reference.profile), log=lab.log("client")) as client:
        client.wait_connected()
        assert client.ping(OFFICE_HOST)
        relay.move()
        assert client.ping(OFFICE_HOST, within_s=10)
        assert "198.18.1.3" in relay.text()


def test_nothing_is_left_of_a_lab(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab:
        names = {namespace.name for namespace in (lab.gateway, lab.client, lab.office, lab.vault)}
        sleeper = lab.start(lab.client, "sleep", "1000", name="sleeper")
        assert names <= namespaces()
    assert sleeper.exit_code == -signal.SIGKILL
    assert not names & namespaces()


def test_what_a_killed_run_has_left_is_swept() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    abandoned = f"pw-{dead.pid}-0000-client"
    own = f"pw-{os.getpid()}-0000-client"
    kept = Namespace(own)
    try:
        Namespace(abandoned)
        sweep_leftovers()
        assert abandoned not in namespaces()
        assert own in namespaces()
    finally:
        kept.close()


def test_a_process_that_ends_early_is_told_with_its_log(tmp_path: Path) -> None:
    with Process(["sh", "-c", "echo out of luck; exit 3"], log=tmp_path / "unlucky.log") as process:
        process.wait()
        with pytest.raises(LabError, match=r"unlucky ended with 3, never said 'ready'\n.*out of luck"):
            process.wait_for("ready")


def namespaces() -> set[str]:
    return {path.name for path in Path("/run/netns").iterdir()}
