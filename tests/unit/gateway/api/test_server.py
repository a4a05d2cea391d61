"""`portway api` as systemd runs it: a process without privileges, with the `aws` command and boto3 in front of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
import httpx
import pytest
from botocore.config import Config as BotoConfig
from cryptography import x509

from gateway.api.client import ApiClient
from gateway.pki import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent
START_TIMEOUT_S = 60
END_TIMEOUT_S = 30

CONFIG = """
[gateway]
state_dir = "state"
pki_dir = "pki"

[api]
listen = ["127.0.0.1:{port}"]
account_id = "123456789012"
region = "eu-central-1"

[[network]]
name = "office"
cidr = "10.20.0.0/24"
interface = "lo"
"""


class Server:
    """A process, with the configuration that it has; a context manager that starts and ends it."""

    def __init__(self, directory: Path, prefix: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.config = directory / "config.toml"
        self.log = directory / "api.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.config.write_text(CONFIG.format(port=self.port))
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [*self._prefix, sys.executable, "-m", "gateway", "api", "--config", str(self.config)]
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.directory / "notify")}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, self.log.open("ab") as log:
            manager.bind(environment["NOTIFY_SOCKET"])
            manager.settimeout(0.1)
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            try:
                self._wait_until_ready(manager)
            except BaseException:
                self.__exit__()
                raise
        return self

    def _wait_until_ready(self, manager: socket.socket) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                assert b"READY=1" in manager.recv(4096)
                return
        pytest.fail(f"it does not get ready:\n{self.log.read_text()}")

    def __exit__(self, *_: object) -> None:
        (self.directory / "notify").unlink(missing_ok=True)
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def end(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(END_TIMEOUT_S)

    @property
    def socket(self) -> ApiClient:
        return ApiClient.at_socket(self.state / "api.sock")


def start_and_wait(config: Path) -> subprocess.CompletedProcess[str]:
    """Run one that ends by itself."""
    command = [sys.executable, "-m", "gateway", "api", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    Authority(directory / "pki").init()
    with Server(directory) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Server) -> dict[str, Any]:
    return server.socket.call("CreateAccessKey", Role="admin")


def environment(server: Server, key: dict[str, Any]) -> dict[str, str]:
    """What a person sets for tools of AWS's, and nothing else of theirs."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(server.directory),
        "AWS_ENDPOINT_URL": f"https://127.0.0.1:{server.port}",
        "AWS_CA_BUNDLE": str(server.directory / "pki" / "ca.crt"),
        "AWS_ACCESS_KEY_ID": key["AccessKey"]["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "1",
    }


def aws(server: Server, key: dict[str, Any], *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "aws"), *words, "--output", "json"]
    return subprocess.run(command, env=environment(server, key), capture_output=True, text=True, check=False)


def test_aws_says_who_the_caller_is(server: Server, key: dict[str, Any]) -> None:
    said = aws(server, key, "sts", "get-caller-identity")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["UserId"] == key["AccessKey"]["AccessKeyId"]


def test_aws_lists_what_there_is(server: Server, key: dict[str, Any]) -> None:
    said = aws(server, key, "ec2", "describe-client-vpn-endpoints")
    assert (said.returncode, json.loads(said.stdout)) == (0, {"ClientVpnEndpoints": []}), said.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("describe-client-vpn-routes", "--client-vpn-endpoint-id", "x"), "InvalidClientVpnEndpointId.NotFound"),
        (("describe-client-vpn-endpoints", "--dry-run"), "DryRunOperation"),
        (("describe-instances",), "InvalidAction"),
    ],
)
def test_aws_is_told_in_its_own_words(server: Server, key: dict[str, Any], words: tuple[str, ...], code: str) -> None:
    said = aws(server, key, "ec2", *words)
    assert said.returncode != 0
    assert f"({code})" in said.stderr


def test_aws_with_a_wrong_secret_is_refused(server: Server, key: dict[str, Any]) -> None:
    said = aws(server, {**key, "SecretAccessKey": "guessed"}, "ec2", "describe-vpcs")
    assert "(AuthFailure)" in said.stderr


def test_boto3_trusts_the_built_in_authority(server: Server, key: dict[str, Any]) -> None:
    client = boto3.client(
        "ec2",
        endpoint_url=f"https://localhost:{server.port}",
        region_name="eu-central-1",
        aws_access_key_id=key["AccessKey"]["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        verify=str(server.directory / "pki" / "ca.crt"),
        config=BotoConfig(retries={"total_max_attempts": 1}),
    )
    try:
        assert client.describe_client_vpn_endpoints()["ClientVpnEndpoints"] == []
    finally:
        client.close()


def test_its_files_are_its_owners_only(server: Server) -> None:
    made = [path for path in server.state.rglob("*") if not path.is_dir()]
    assert (server.state / "api.sock") in made
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}


def test_its_log_has_no_secrets(server: Server, key: dict[str, Any]) -> None:
    assert key["SecretAccessKey"] not in server.log.read_text()


def test_sighup_takes_over_what_the_configuration_now_says(server: Server) -> None:
    server.config.write_text(server.config.read_text().replace("123456789012", "210987654321"))
    os.kill(server.pid, signal.SIGHUP)
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.socket.call("GetCallerIdentity")["Account"] != "210987654321":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.config.write_text("nonsense")
    os.kill(server.pid, signal.SIGHUP)
    while "configuration not reloaded" not in server.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.socket.call("GetCallerIdentity")["Account"] == "210987654321"


@pytest.mark.parametrize(("offset", "said"), [(0, "cannot listen on 127.0.0.1"), (1, "Another process listens")])
def test_a_second_one_does_not_take_the_first_ones_place(
    server: Server, tmp_path: Path, offset: int, said: str
) -> None:
    text = CONFIG.format(port=server.port + offset).replace('"state"', f'"{server.state}"')
    (tmp_path / "config.toml").write_text(text)
    second = start_and_wait(tmp_path / "config.toml")
    assert second.returncode == 1
    assert said in second.stderr
    assert "Traceback" not in second.stderr
    assert server.socket.call("GetCallerIdentity")


def test_it_ends_when_it_is_told_to_and_leaves_no_socket(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.socket.call("GetCallerIdentity")
        assert server.end() == 0
        assert not (server.state / "api.sock").exists()


def test_without_an_authority_it_makes_a_certificate_that_can_be_trusted(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        made = server.socket.call("CreateAccessKey", Role="read-only")
        trusted = server.state / "api" / "server.crt"
        key_id, secret = made["AccessKey"]["AccessKeyId"], made["SecretAccessKey"]
        remote = ApiClient.at_url(f"https://127.0.0.1:{server.port}", key_id, secret, ca_file=trusted)
        assert remote.call("GetCallerIdentity")["UserId"] == key_id
        assert len(x509.load_pem_x509_certificates(trusted.read_bytes())) == 2


def test_metrics_are_where_the_configuration_says_and_nowhere_else(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert fetch(f"https://127.0.0.1:{server.port}/metrics").status_code == 403
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    server.config.write_text(server.config.read_text().replace("[api]", f'[api]\nmetrics_listen = ["{address}"]'))
    with server:
        assert "portway_up 0.0" in fetch(f"http://{address}/metrics").text
        assert fetch(f"http://{address}/healthz").json()["conditions"][0]["code"] == "daemon-silent"
        assert fetch(f"http://{address}/").status_code == 404
        assert fetch(f"https://127.0.0.1:{server.port}/metrics").status_code == 403
        assert fetch(f"https://127.0.0.1:{server.port}/healthz").json() == {"status": "failing"}


def fetch(url: str) -> httpx.Response:
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return httpx.get(url, verify=trust)


def test_where_it_is_switched_off_it_ends_in_peace(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.format(port=1).replace("[api]", "[api]\nenabled = false"))
    said = start_and_wait(tmp_path / "config.toml")
    assert said.returncode == 0
    assert "nothing to serve" in said.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give up")
def test_it_needs_no_capability(tmp_path: Path) -> None:
    confined = (
        "setpriv",
        "--no-new-privs",
        "--securebits=+noroot,+noroot_locked",
        "--bounding-set=-all",
        "--inh-caps=-all",
    )
    with Server(tmp_path, confined) as server:
        assert "CapEff:\t0000000000000000" in Path(f"/proc/{server.pid}/status").read_text()
        assert server.socket.call("GetCallerIdentity")["UserId"] == "socket:0"
