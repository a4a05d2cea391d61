from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.cli.toml_text import build_toml
from gateway.config.declaration_files import read_declaration
from gateway.config.problems import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
NAMED = {
    "name": "staff",
    "client_cidr_block": "10.90.0.0/22",
    "server_certificate": "pki/server.crt",
    "server_key": "server.key",
    "authentication": {"client_root_certificate_chain": "ca.crt", "certificate_revocation_list": "./crl"},
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "pki").mkdir()
    for name in ("pki/server.crt", "server.key", "ca.crt", "crl"):
        (tmp_path / name).write_text(f"# {name}\n{PEM}")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def read(home: Path, **changes: Any) -> dict[str, Any]:
    path = home / "endpoints.toml"
    path.write_text(build_toml({"endpoint": [NAMED | changes]}))
    (endpoint,) = read_declaration(path)["endpoint"]
    return dict(endpoint)


def refused(home: Path, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(home, **changes)
    return str(caught.value)


def test_files_become_what_is_in_them_from_where_pem_begins(home: Path) -> None:
    found = read(home)
    assert (found["server_certificate"], found["server_key"]) == (PEM, PEM)
    assert found["authentication"] == {"client_root_certificate_chain": PEM, "certificate_revocation_list": PEM}


@pytest.mark.parametrize("name", ["arn:aws:acm:local:000000000000:certificate/x.crt", "server", "vpn.example.com"])
def test_arns_and_names_stay(home: Path, name: str) -> None:
    path = home / "endpoints.toml"
    without_key = {key: value for key, value in NAMED.items() if key != "server_key"}
    path.write_text(build_toml({"endpoint": [without_key | {"server_certificate": name}]}))
    assert read_declaration(path)["endpoint"][0]["server_certificate"] == name


def test_pem_in_the_file_itself_stays(home: Path) -> None:
    assert read(home, authentication={"client_root_certificate_chain": PEM})["authentication"] == {
        "client_root_certificate_chain": PEM
    }


def test_every_file_that_cannot_be_read_is_named_by_its_key(home: Path) -> None:
    (home / "server.key").chmod(0o644)
    (home / "ca.crt").write_text("no PEM")
    (home / "crl").write_bytes(b"\xff")
    lines = refused(home, server_certificate="pki/none.crt").splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        "endpoint[0].server_certificate",
        "endpoint[0].server_key",
        "endpoint[0].authentication.client_root_certificate_chain",
        "endpoint[0].authentication.certificate_revocation_list",
    ]
    assert all('(endpoint "staff"): Names ' in line for line in lines)
    assert "does not exist" in lines[0]
    assert "chmod 600" in lines[1]
    assert all("is no PEM" in line for line in lines[2:])


@pytest.mark.parametrize("text", ["endpoint = 1", "endpoint = [1]", "[[endpoint]]\nauthentication = 2", "nonsense"])
def test_whatever_the_file_holds_is_said_in_sentences(tmp_path: Path, text: str) -> None:
    path = tmp_path / "endpoints.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_declaration(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_declaration(tmp_path / "none.toml")
