"""`portway quickstart`, which is what `make run` runs: from nothing to a client that reaches the host's network."""

from __future__ import annotations

import os
import signal
import stat
from typing import TYPE_CHECKING

import pytest

from gateway.api.client import ApiClient, ApiClientError
from tests.lab import OFFICE_HOST, PORTWAY, Lab, OpenVpnClient, eventually, portway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab import Process

pytestmark = pytest.mark.interop


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """The gateway's default route leads into the office, as a server's leads into its data centre."""
    with Lab(tmp_path) as lab:
        lab.gateway.ip(f"route add default via {OFFICE_HOST}")
        yield lab


def start(lab: Lab, *options: str | Path) -> Process:
    return lab.start(
        lab.gateway, PORTWAY, "quickstart", "--state", lab.directory / "state", *options, name="quickstart"
    )


def test_the_first_start_makes_everything_and_the_second_changes_nothing(lab: Lab) -> None:
    state = lab.directory / "state"
    for _ in range(2):
        gateway = start(lab)
        gateway.wait_for("gateway ready")
        assert f"{state}/laptop.ovpn" in gateway.text()
        with OpenVpnClient(lab.client, state / "laptop.ovpn", log=lab.log("client")) as client:
            client.wait_connected()
            assert client.ping(OFFICE_HOST)
        assert gateway.stop() == 0
    assert portway("pki", "list", "--dir", state / "pki").count("laptop") == 1


def test_the_api_is_there_for_as_long_as_the_gateway_is(lab: Lab) -> None:
    gateway = start(lab)
    gateway.wait_for("gateway ready")
    gateway.wait_for("API ready")
    api = ApiClient.at_socket(lab.directory / "state" / "api.sock")
    assert api.call("GetCallerIdentity")["UserId"] == "socket:0"
    assert gateway.stop() == 0
    with pytest.raises(ApiClientError):
        api.call("GetCallerIdentity")


def test_the_api_ends_even_if_the_gateway_is_killed(lab: Lab) -> None:
    gateway = start(lab)
    gateway.wait_for("API ready")
    socket = lab.directory / "state" / "api.sock"
    os.kill(gateway.pid, signal.SIGKILL)
    eventually(lambda: not socket.exists(), within_s=20, what="the end of the API")


def test_what_it_makes_is_for_its_owner_only(lab: Lab) -> None:
    portway("quickstart", "--no-serve", "--state", lab.directory / "state", namespace=lab.gateway)
    made = [path for path in (lab.directory / "state").rglob("*") if path.is_file()]
    assert len(made) > 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}


def test_a_taken_port_is_told_in_a_sentence(lab: Lab) -> None:
    lab.start(lab.gateway, "python3", "-c", LISTEN_ON_443, name="squatter").wait_for("listening")
    gateway = start(lab)
    assert gateway.wait(within_s=20) == 1
    assert "443" in gateway.text().splitlines()[-1]
    assert "Traceback" not in gateway.text()


def test_a_missing_tun_device_is_told_in_a_sentence(lab: Lab) -> None:
    hidden = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh")
    command = (*hidden, PORTWAY, "quickstart", "--state", lab.directory / "state")
    gateway = lab.start(lab.gateway, *command, name="quickstart")
    assert gateway.wait(within_s=20) == 1
    assert "/dev/net/tun" in gateway.text().splitlines()[-1]
    assert "Traceback" not in gateway.text()


LISTEN_ON_443 = """
import socket, time
taken = socket.create_server(("", 443))
print("listening", flush=True)
time.sleep(1000)
"""
