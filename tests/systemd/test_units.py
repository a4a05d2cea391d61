"""What `make install` leaves behind runs under a real systemd, within what its units allow, and recovers.

Everything here is one boot; each test leaves both units running, but for the last two.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from gateway.api.client import ApiClient
from gateway.object_ids import subnet_id
from tests.lab import OFFICE_HOST, LabError, OpenVpnClient, eventually
from tests.systemd.conftest import SOURCES
from tunnel.nativeplane.priority import GIVES_WAY

if TYPE_CHECKING:
    from tests.lab import Lab
    from tests.lab.systemd_host import SystemdHost

pytestmark = [pytest.mark.interop, pytest.mark.systemd]

GATEWAY = "portway.service"
API = "portway-api.service"
NET_ADMIN_AND_BIND_SERVICE = 1 << 12 | 1 << 10
CONFIG = "/etc/portway/config.toml"
PROFILE = "/var/lib/portway/laptop.ovpn"
AS_NICE_AS_MOST = 20
"""RLIMIT_NICE for a nice value of 0 (getrlimit(2))."""


def main_pid(host: SystemdHost, unit: str) -> str:
    return host.show(unit, "MainPID")["MainPID"]


def process_status(host: SystemdHost, unit: str) -> dict[str, str]:
    lines = host.path(f"/proc/{main_pid(host, unit)}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def connect(lab: Lab, host: SystemdHost) -> OpenVpnClient:
    return OpenVpnClient(lab.client, host.path(PROFILE), log=lab.log("client"))


@pytest.mark.parametrize(("unit", "says"), [(GATEWAY, "Serving main"), (API, "Serving 127.0.0.1:8443")])
def test_it_is_enabled_and_has_told_systemd_that_it_is_ready(host: SystemdHost, unit: str, says: str) -> None:
    assert host.show(unit, "ActiveState", "UnitFileState", "StatusText", "NRestarts", "WatchdogUSec") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "StatusText": says,
        "NRestarts": "0",
        "WatchdogUSec": "5s",
    }


@pytest.mark.parametrize("unit", [GATEWAY, API])
def test_systemd_finds_nothing_wrong_with_the_installed_unit(host: SystemdHost, unit: str) -> None:
    verified = host.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{unit}")
    assert verified.stderr == ""


@pytest.mark.parametrize(("unit", "held"), [(GATEWAY, NET_ADMIN_AND_BIND_SERVICE), (API, 0)])
def test_the_process_holds_what_its_unit_gives_it_and_nothing_more(host: SystemdHost, unit: str, held: int) -> None:
    status = process_status(host, unit)
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {held}
    user = host.run("id", "--user", "portway").stdout.strip()
    assert status["Uid"].split() == [user] * 4
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.native
def test_the_native_plane_runs(host: SystemdHost) -> None:
    plane = json.loads(host.run("portway", "status", "--json").stdout)["plane"]
    assert plane["name"] == "native", plane["reason"]


@pytest.mark.native
def test_control_may_give_way_to_the_workers_and_they_keep_their_priority(host: SystemdHost) -> None:
    main = main_pid(host, GATEWAY)
    stats = {task.name: (task / "stat").read_text() for task in host.path(f"/proc/{main}/task").iterdir()}
    nice = {thread: int(stat.rpartition(")")[2].split()[16]) for thread, stat in stats.items()}
    plane = json.loads(host.run("portway", "status", "--json").stdout)["plane"]
    assert list(nice.values()).count(0) >= plane["workers"]
    assert host.show(GATEWAY, "LimitNICE") == {"LimitNICE": str(AS_NICE_AS_MOST)}
    # Where the container may not raise the limit, all are equals.
    limits = host.path(f"/proc/{main}/limits").read_text()
    granted = int(re.search(r"Max nice priority +(\d+)", limits)[1])  # type: ignore[index]  # it is always there
    assert nice[main] == (GIVES_WAY if granted >= AS_NICE_AS_MOST else 0)


def test_what_it_keeps_is_its_own(host: SystemdHost) -> None:
    for path, wanted in {
        "/etc/portway": "root portway 750",
        CONFIG: "root portway 640",
        "/var/lib/portway": "portway portway 700",
        "/run/portway": "portway portway 700",
        "/var/log/portway": "portway portway 750",
    }.items():
        assert host.run("stat", "--format=%U %G %a", path).stdout.strip() == wanted, path
    others = ("find", "/var/lib/portway", "(", "-not", "-user", "portway", "-or", "-perm", "/077", ")")
    assert host.run(*others).stdout == ""


def test_a_stock_client_reaches_the_network_behind(lab: Lab, host: SystemdHost) -> None:
    with connect(lab, host) as client:
        client.wait_connected()
        assert client.ping(OFFICE_HOST)
        (connection,) = json.loads(host.run("portway", "connections", "--json").stdout)
        assert connection["common_name"] == "laptop"


def test_what_one_unit_writes_into_the_store_the_other_carries_out(host: SystemdHost) -> None:
    host.run(
        *("portway", "endpoint", "create", "--name", "staff", "--client-cidr-block", "10.90.0.0/22"),
        *("--server-certificate", "server", "--client-root", "Portway CA", "--port", "1194"),
    )
    api = ApiClient.at_socket(host.path("/var/lib/portway/api.sock"))

    def statuses() -> dict[str, str]:
        endpoints = api.call("DescribeClientVpnEndpoints")["ClientVpnEndpoints"]
        return {endpoint["ClientVpnEndpointId"]: endpoint["Status"]["Code"] for endpoint in endpoints}

    (waiting,) = (endpoint for endpoint, status in statuses().items() if status == "pending-associate")
    api.call("AssociateClientVpnTargetNetwork", ClientVpnEndpointId=waiting, SubnetId=subnet_id("uplink"))
    eventually(lambda: statuses()[waiting] == "available", within_s=20, what="the endpoint is available")


def test_the_api_answers_by_https(lab: Lab, host: SystemdHost) -> None:
    authority = host.path("/var/lib/portway/pki/ca.crt")
    said = lab.gateway.run("curl", "-sS", "--cacert", authority, "https://127.0.0.1:8443/")
    assert "<Code>MissingAuthenticationToken</Code>" in said.stdout


@pytest.mark.parametrize("command", [("status",), ("endpoint", "list")], ids=" ".join)
def test_its_own_user_may_ask_it_and_who_can_only_read_the_configuration_may_not(
    host: SystemdHost, command: tuple[str, ...]
) -> None:
    def run_as(user: str) -> None:
        host.run("setpriv", f"--reuid={user}", "--regid=portway", "--clear-groups", "portway", *command)

    run_as("portway")
    with pytest.raises(LabError, match="for root and the gateway's own user"):
        run_as("nobody")


def test_the_connection_log_is_in_the_journal(lab: Lab, host: SystemdHost) -> None:
    with connect(lab, host) as client:
        client.wait_connected()

    def records() -> list[dict[str, str]]:
        entries = host.journal(f"--unit={GATEWAY}", "--priority=info..info", "--identifier=portway")
        return [json.loads(entry["MESSAGE"]) for entry in entries if entry["MESSAGE"].startswith("{")]

    def is_complete() -> bool:
        return [record["connection-log-type"] for record in records()][-2:] == [
            "connection-attempt",
            "connection-reset",
        ]

    eventually(is_complete, within_s=10, what="the connection is in the journal")


def test_a_reload_that_is_refused_fails_and_says_why(host: SystemdHost) -> None:
    config = host.path(CONFIG)
    before, process = config.read_text(), main_pid(host, GATEWAY)
    config.write_text(before.replace("[gateway]", "[gateway]\nnonsense = 1"))
    with pytest.raises(LabError, match="systemctl reload"):
        host.run("systemctl", "reload", GATEWAY)
    errors = host.journal(f"--unit={GATEWAY}", "--priority=err")
    assert any("nonsense" in entry["MESSAGE"] for entry in errors)
    config.write_text(before)
    host.run("systemctl", "reload", GATEWAY, API)
    assert host.show(GATEWAY, "ActiveState", "MainPID") == {"ActiveState": "active", "MainPID": process}


def test_a_gateway_that_hangs_is_killed_and_serves_again(lab: Lab, host: SystemdHost) -> None:
    hung = main_pid(host, GATEWAY)
    host.run("systemctl", "kill", "--signal=STOP", GATEWAY)

    def is_back() -> bool:
        unit = host.show(GATEWAY, "ActiveState", "MainPID")
        return unit["ActiveState"] == "active" and unit["MainPID"] != hung

    eventually(is_back, within_s=60, what="another process in its place")
    with connect(lab, host) as client:
        client.wait_connected()
        assert client.ping(OFFICE_HOST)


def test_stopped_it_leaves_the_network_as_it_was(lab: Lab, host: SystemdHost, untouched: str) -> None:
    host.run("systemctl", "stop", GATEWAY, API)
    assert lab.gateway.network_state() == untouched
    assert not host.path("/run/portway").exists()


def test_uninstalled_it_leaves_nothing(lab: Lab, host: SystemdHost, untouched: str) -> None:
    host.run("make", "-C", SOURCES, "uninstall", "PURGE=1")
    assert lab.gateway.network_state() == untouched
    left = host.run("find", "/etc", "/opt", "/usr/local/bin", "/var", "/run", "-name", "portway*").stdout.split()
    assert [path for path in left if not path.endswith(".service.d")] == []
    assert host.run("id", "portway", check=False).returncode == 1
