from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.pki import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65534


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(command: str) -> Result:
    return CliRunner().invoke(app, ["pki", *command.split()])


def test_the_way_from_nothing_to_a_revoked_client(tmp_path: Path) -> None:
    for command in (
        "init",
        "server server --san vpn.example.com",
        "client alice --group engineering --group ops --days 30",
        "client bob --key-type ed25519",
        "revoke bob",
    ):
        result = run(command)
        assert result.exit_code == 0, result.output
        assert result.stdout == ""
    listed = [line.split()[:3] for line in run("list").stdout.splitlines()]
    assert listed == [
        ["Name", "Role", "State"],
        ["server", "server", "valid"],
        ["alice", "client", "valid"],
        ["bob", "client", "revoked"],
    ]
    serials = [issued.serial for issued in Authority(tmp_path / "pki").certificates()]
    assert [line.split()[-1] for line in run("list").stdout.splitlines()[1:]] == serials


def test_the_directory_can_be_elsewhere(tmp_path: Path) -> None:
    assert run("init --dir deep/down --key-type rsa-2048 --name Office").exit_code == 0
    assert (tmp_path / "deep/down/ca.crt").exists()
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize(
    "command",
    ["list", "server x", "client x", "revoke x"],
)
def test_without_an_authority_every_command_says_how_to_make_one(command: str) -> None:
    result = run(command)
    assert result.exit_code == 1
    assert result.stderr == "pki holds no authority yet. Make one with `portway pki init`.\n"


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "client ../x",
        "client alice --group a,b",
        "client alice --days 0",
        "client alice --days 999999",
        "server x --san a..b",
        "revoke nobody",
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(command: str) -> None:
    run("init")
    result = run(command)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith(".\n")


@pytest.mark.parametrize("command", ["client alice --days x", "client alice --key-type dsa", "client", "frobnicate"])
def test_a_wrong_command_line_is_explained(command: str) -> None:
    result = run(command)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_every_command_renews_a_list_that_is_due(tmp_path: Path) -> None:
    run("init")
    (tmp_path / "pki/crl.pem").unlink()
    assert "Renewed pki/crl.pem." in run("list").stderr
    assert "Renewed" not in run("list").stderr


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """As a user without rights; who is none other than root now stays who it is."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("mode", [0o000, 0o755])
@pytest.mark.parametrize("command", ["init", "list", "server x", "client x", "revoke alice"])
def test_without_permission_every_command_says_so_in_a_sentence(tmp_path: Path, command: str, mode: int) -> None:
    for preparation in ("init", "client alice"):
        run(preparation)
    tmp_path.chmod(0o755)
    directory = tmp_path / "pki"
    for file in directory.glob("*"):
        file.chmod(0o000)
    directory.chmod(mode & (0o777 if os.geteuid() == 0 else 0o555))
    with as_somebody_else():
        result = run(command)
    directory.chmod(0o700)
    assert result.exit_code == 1, result.output
    assert re.fullmatch(r"pki\S* cannot be (read|written): Permission denied\. Run this as .*\.\n", result.stderr)
