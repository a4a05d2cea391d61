import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.control_socket import ControlError
from gateway.object_ids import endpoint_id
from tests.lab.config import build_toml, endpoint, gateway_config, rule
from tests.unit.gateway.world import pki

SESSION = {
    "id": "cvpn-connection-0123456789abcdef0",
    "endpoint": "main",
    "common_name": "ana",
    "groups": ["engineering", "sales"],
    "status": "active",
    "client_ip": "10.80.0.2",
    "device_ip": "198.51.100.7",
    "port": 40000,
    "transport": "udp",
    "duration_s": 3725,
    "ingress_bytes": 1500000,
    "egress_bytes": 42,
    "client_version": "2.6.14",
    "platform": "linux",
    "cipher": "AES-256-GCM",
}

STATUS = {
    "version": "0.1.0",
    "node": "gw1",
    "process_id": 7,
    "uptime_s": 61,
    "plane": {"name": "native", "workers": 2, "reason": ""},
    "last_reload": {"at": "2026-01-01T00:00:00+00:00", "result": "refused", "sentences": ["one thing is wrong"]},
    "host_problems": ["eth1 is not there"],
    "host_drops": {"security group": 3, "invalid to clients": 0},
    "health": [
        {
            "code": "expires-soon",
            "severity": "warning",
            "subject": "main",
            "explanation": "The server certificate (CN=server) ends in 3 days.",
            "remedy": "Issue a new one in time.",
        }
    ],
    "managed": {
        "store": "postgresql",
        "problem": "the database does not answer",
        "mirror": {"waiting": 5},
        "endpoints": {"cvpn-endpoint-1": ["There is no network subnet-1."], "cvpn-endpoint-2": []},
    },
    "endpoints": [
        {
            "name": "main",
            "plane": {
                "name": "native",
                "workers": 2,
                "udp_gso": True,
                "tun_tso": True,
                "tun_uso": False,
                "aead": "intel-ipsec-mb",
            },
            "listeners": ["udp 0.0.0.0 port 443"],
            "connection_log": {"group": "audit", "stream": "staff"},
            "sessions": 3,
            "pool": {"network": "10.80.0.0/22", "used": 3, "capacity": 1021},
            "half_open": {"now": 1, "limit": 1000},
            "drops": {"no-rule": 4, "replay": 0},
            "ignored": {"wrong-control-key": 5},
            "expiries": [{"what": "server certificate (CN=server)", "days_left": 3, "urgency": "soon"}],
        }
    ],
    "down": {"other": "endpoint other: port 444 is taken"},
    "connection_log": [
        {"sink": "journal", "groups": ["default", "audit"], "queued": 2, "lost": 9, "failing": "No space left"}
    ],
}


class FakeDaemon:
    """Answers requests from a table, and remembers them."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.answers: dict[str, Any] = {"connections": [SESSION], "status": STATUS}

    def ask(self, path: Path, request: Mapping[str, Any]) -> Any:
        del path
        self.asked.append(request)
        answer = self.answers.get(request["request"])
        if answer is None:
            raise ControlError("no gateway answers")
        return answer


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    fake = FakeDaemon()
    monkeypatch.setattr("gateway.cli.daemon_access.ask", fake.ask)
    return fake


def portway(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--socket", "/nowhere"])
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 1
    return result.stderr


def test_connections_are_a_table_with_whole_ids(daemon: FakeDaemon) -> None:
    output = portway("connections")
    for fact in (SESSION["id"], "ana", "engineering, sales", "198.51.100.7:40000/udp", "1:02:05", "1.5 MB", "42 bytes"):
        assert str(fact) in output


def test_connections_and_status_are_json_for_programs(daemon: FakeDaemon) -> None:
    assert json.loads(portway("connections", "--json")) == [SESSION]
    assert json.loads(portway("status", "--json")) == STATUS


def test_an_empty_gateway_is_said_in_words(daemon: FakeDaemon) -> None:
    daemon.answers["connections"] = []
    result = CliRunner().invoke(app, ["connections", "--socket", "/nowhere"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Nobody is connected.\n")


def test_status_says_what_somebody_should_know(daemon: FakeDaemon) -> None:
    output = portway("status")
    for fact in (
        "Portway 0.1.0 on gw1, process 7, up 0:01:01",
        "packets    native, 2 threads, GSO, TSO, AEAD by intel-ipsec-mb\n",
        "clients    3, handshakes in flight 1 of 1000",
        "3 of 1021 in 10.80.0.0/22",
        "no-rule 4",
        "wrong-control-key 5",
        "ends in 3 days  (SOON)",
        "endpoint other: port 444 is taken (down, and tried again until it works)",
        "logged     to log group audit, stream staff\n",
        "connection log to journal (default, audit): 2 waiting",
        "9 records lost, failing: No space left",
        "host network: eth1 is not there",
        "host network dropped: security group 3",
        "WARNING expires-soon (main): The server certificate (CN=server) ends in 3 days.\n  Issue a new one in time.\n",
        "store (postgresql): cannot be used: the database does not answer, 5 rows waiting\n",
        "endpoint cvpn-endpoint-1: There is no network subnet-1.\n",
        "refused",
        "one thing is wrong",
    ):
        assert fact in output
    assert "replay" not in output


def test_status_says_why_the_native_plane_does_not_run(daemon: FakeDaemon) -> None:
    python = {"name": "python", "workers": 1, "udp_gso": False, "tun_tso": False, "tun_uso": False, "aead": "libcrypto"}
    daemon.answers["status"] = STATUS | {
        "plane": {"name": "python", "workers": 1, "reason": "it was not compiled"},
        "endpoints": [STATUS["endpoints"][0] | {"plane": python}],  # type: ignore[index]
    }
    output = portway("status")
    assert "data plane python, since the native one cannot be had: it was not compiled\n" in output
    assert "packets    python, 1 thread, AEAD by libcrypto\n" in output


def test_terminate_names_what_it_ended(daemon: FakeDaemon) -> None:
    daemon.answers["terminate"] = ["cvpn-connection-1"]
    assert portway("terminate", "--user", "ana") == "cvpn-connection-1 terminated\n"
    assert daemon.asked == [{"request": "terminate", "id": None, "user": "ana"}]


def test_reload_prints_sentences(daemon: FakeDaemon) -> None:
    daemon.answers["reload"] = ["Nothing has changed."]
    assert portway("reload") == "Nothing has changed.\n"


def test_explain_asks_the_gateway_about_a_session(daemon: FakeDaemon) -> None:
    daemon.answers["explain"] = {"text": "10.20.0.9:443/tcp is allowed"}
    assert portway("explain", "--id", "x", "--to", "10.20.0.9:443/tcp") == "10.20.0.9:443/tcp is allowed\n"
    assert daemon.asked[0] == {
        "request": "explain",
        "id": "x",
        "destination": "10.20.0.9",
        "port": 443,
        "protocol": "tcp",
    }


def test_explain_asks_the_gateway_about_groups_where_a_socket_is_named(daemon: FakeDaemon) -> None:
    daemon.answers["explain"] = {"text": "denied"}
    portway("explain", "--groups", "a, b,", "--to", "10.20.0.9")
    assert daemon.asked[0]["groups"] == ["a", "b"]


def test_a_daemon_that_does_not_answer_is_a_sentence(daemon: FakeDaemon) -> None:
    assert refused("terminate", "--id", "x", "--socket", "/nowhere") == "no gateway answers\n"


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "pki").symlink_to(pki().path)
    file = tmp_path / "config.toml"
    other = endpoint(name="other", authorization_rule=[rule("10.20.0.0/24")])
    file.write_text(build_toml(gateway_config(tmp_path / "state", endpoint(), other)))
    return str(file)


def test_explain_needs_no_gateway_for_groups(config: str) -> None:
    arguments = ["explain", "--config", config, "--endpoint", "main", "--groups", "engineering", "--to"]
    runner = CliRunner()
    assert "10.20.0.9 is allowed" in runner.invoke(app, [*arguments, "10.20.0.9"]).stdout
    denied = json.loads(runner.invoke(app, [*arguments, "10.30.0.9:22/tcp", "--json"]).stdout)
    assert (denied["allowed"], denied["verdict"]) == (False, "no_rule")


def test_explain_asks_the_gateway_about_an_endpoint_made_at_run_time(daemon: FakeDaemon, config: str) -> None:
    daemon.answers["explain"] = {"text": "denied"}
    made = "cvpn-endpoint-0123456789abcdef0"
    question = ["explain", "--config", config, "--groups", "engineering", "--to", "10.20.0.9", "--endpoint"]
    assert CliRunner().invoke(app, [*question, made]).stdout == "denied\n"
    assert [asked["endpoint"] for asked in daemon.asked] == [made]
    assert "10.20.0.9 is allowed" in CliRunner().invoke(app, [*question, endpoint_id("main")]).stdout
    assert len(daemon.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--groups", "", "--to", "10.20.0.9"], "Say with --endpoint which one is meant: main, other, or"),
        (["--to", "10.20.0.9"], "either --id or --groups"),
        (["--groups", "a", "--id", "b", "--to", "10.20.0.9"], "either --id or --groups"),
        (["--groups", "", "--endpoint", "main", "--to", "office"], "office is not an IPv4 address"),
        (["--groups", "", "--endpoint", "main", "--to", "10.20.0.999"], "is not an IPv4 address"),
        (["--groups", "", "--endpoint", "main", "--to", "10.20.0.9:70000"], "70000 is no port"),
        (["--groups", "", "--endpoint", "main", "--to", "10.20.0.0/24"], "is not an IPv4 address"),
        (["--groups", "", "--endpoint", "main", "--to", "10.20.0.9:22/tpc"], "is not an IPv4 address"),
        (["--groups", "", "--endpoint", "mian", "--to", "10.20.0.9"], 'There is no endpoint "mian" in the'),
    ],
)
def test_a_question_that_makes_no_sense_is_a_sentence(config: str, arguments: list[str], sentence: str) -> None:
    assert sentence in refused("explain", "--config", config, *arguments)
