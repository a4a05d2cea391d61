from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.pki import Authority
from tests.unit.gateway.config_files import Table, make_pki, write_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_pki(tmp_path / "pki")
    write_config(tmp_path, lambda config: config["endpoint"][0].update(public_hostname="vpn.example.com"))
    return tmp_path


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["profile", *arguments, "--config", str(home / "config.toml")])


def test_a_profile_goes_to_standard_output_and_nothing_else_does(home: Path) -> None:
    result = run(home, "alice")
    assert result.exit_code == 0
    assert result.stdout.startswith("# Portway: endpoint main, client alice\nclient\n")
    assert result.stdout.endswith("</tls-crypt-v2>\n")
    assert (home / "pki/alice.crt").read_text() in result.stdout
    assert (home / "pki/alice.key").read_text() in result.stdout
    assert (home / "pki/alice-tls-crypt-v2.key").read_text() in result.stdout


def test_the_same_profile_comes_twice(home: Path) -> None:
    assert run(home, "alice").stdout == run(home, "alice").stdout


def test_remotes_and_protection_can_be_chosen(home: Path) -> None:
    result = run(home, "alice", "--remote", "10.0.0.1", "--remote", "::1", "--protection", "tls-crypt")
    assert "remote 10.0.0.1 443 udp\nremote ::1 443 udp\n" in result.stdout
    assert "<tls-crypt>" in result.stdout
    assert not (home / "pki/alice-tls-crypt-v2.key").exists()


def test_a_profile_in_a_file_is_its_owner_s_and_overwrites_nothing(home: Path) -> None:
    path = home / "alice.ovpn"
    assert run(home, "alice", "--output", str(path)).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "</key>" in path.read_text()
    again = run(home, "alice", "--output", str(path))
    assert again.exit_code == 1
    assert "cannot be written: File exists" in again.stderr


def test_another_authority_can_be_named(home: Path) -> None:
    other = Authority(home / "other")
    other.init()
    other.issue_client("carol")
    result = run(home, "carol", "--dir", str(home / "other"))
    assert result.exit_code == 1
    assert "endpoint main does not know the authority that issued carol" in result.stderr.replace('"', "")


def test_with_several_endpoints_one_has_to_be_chosen(home: Path) -> None:
    def add(config: Table) -> None:
        second = {**config["endpoint"][0], "name": "second", "vpn_port": 1194, "public_hostname": "b.example"}
        config["endpoint"].append(second)

    write_config(home, add)
    assert "say with --endpoint" in run(home, "alice").stderr
    assert "remote b.example 1194 udp" in run(home, "alice", "--endpoint", "second").stdout
    assert 'There is no endpoint "third". There are: main, second.' in run(home, "alice", "--endpoint", "third").stderr


def test_a_configuration_without_endpoints_has_no_profiles(home: Path) -> None:
    write_config(home, lambda config: config.pop("endpoint"))
    assert "declares no endpoint" in run(home, "alice").stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mallory"], 'There is no client "mallory" here'),
        (["server"], 'There is no client "server" here'),
        (["../../etc/passwd"], "cannot name a certificate"),
        (["alice", "--remote", "a b"], "neither a DNS name nor an address"),
        (["alice", "--remote", "x\nverb 11"], "neither a DNS name nor an address"),
        (["alice", "--dir", "/nonexistent"], "holds no authority yet"),
    ],
)
def test_a_mistake_is_a_sentence(home: Path, arguments: list[str], words: str) -> None:
    result = run(home, *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stdout == ""


def test_a_revoked_client_has_no_profile(home: Path) -> None:
    Authority(home / "pki").revoke("alice")
    assert 'There is no client "alice" here' in run(home, "alice").stderr


def test_a_broken_configuration_is_told_as_check_tells_it(home: Path) -> None:
    write_config(home, lambda config: config["endpoint"][0].update(vpn_port=0))
    result = run(home, "alice")
    assert result.exit_code == 1
    assert result.stderr == 'endpoint[0].vpn_port (endpoint "main"): Must be at least 1, not 0.\n'
