from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from gateway.config import check_config
from gateway.config.files import MAX_FILE_SIZE
from tests.unit.gateway.config_files import write_config

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "endpoint[0].server_certificate": "server.crt",
    "endpoint[0].server_key": "server.key",
    "endpoint[0].authentication.client_root_certificate_chain": "ca.crt",
    "endpoint[0].authentication.certificate_revocation_list": "crl.pem",
    "endpoint[0].control_channel.tls_crypt_key": "tls-crypt.key",
    "endpoint[0].control_channel.tls_auth_key": "tls-auth.key",
    "endpoint[0].control_channel.tls_crypt_v2_server_key": "tls-crypt-v2.key",
}
SECRETS = {path: name for path, name in FILES.items() if name.endswith(".key")}

every_file = pytest.mark.parametrize(("path", "name"), FILES.items(), ids=FILES.values())
every_secret = pytest.mark.parametrize(("path", "name"), SECRETS.items(), ids=SECRETS.values())


def sentence_about(path: str, home: Path) -> str:
    problems = check_config(write_config(home))
    (own,) = [problem for problem in problems if problem.key_path == path]
    return own.text


@every_file
def test_a_file_that_is_missing_is_named(path: str, name: str, home: Path) -> None:
    (home / "pki" / name).unlink()
    assert sentence_about(path, home) == f"Names {home}/pki/{name}, which does not exist."


@every_file
def test_a_directory_in_its_place_is_named(path: str, name: str, home: Path) -> None:
    (home / "pki" / name).unlink()
    (home / "pki" / name).mkdir()
    assert "cannot be read: Is a directory" in sentence_about(path, home)


@every_file
@pytest.mark.parametrize("content", [b"", b"garbage", os.urandom(5000)], ids=["empty", "text", "binary"])
def test_a_file_that_holds_something_else_is_named(path: str, name: str, content: bytes, home: Path) -> None:
    (home / "pki" / name).write_bytes(content)
    assert sentence_about(path, home).startswith(f"Names {home}/pki/{name}, which ")


@every_file
def test_a_file_of_absurd_size_is_named(path: str, name: str, home: Path) -> None:
    with (home / "pki" / name).open("wb") as file:
        file.truncate(MAX_FILE_SIZE + 1)
    assert "too large" in sentence_about(path, home)


@every_file
def test_a_damaged_file_is_named(path: str, name: str, home: Path) -> None:
    file = home / "pki" / name
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[: len(lines) // 2] + lines[-1:]))
    assert sentence_about(path, home)


@every_secret
@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602])
def test_a_secret_that_everybody_can_get_at_is_refused(path: str, name: str, mode: int, home: Path) -> None:
    (home / "pki" / name).chmod(mode)
    assert f"chmod 600 {home}/pki/{name}" in sentence_about(path, home)


@every_secret
def test_a_secret_may_belong_to_a_group(path: str, name: str, home: Path) -> None:
    (home / "pki" / name).chmod(0o640)
    assert check_config(write_config(home)) == ()


def test_an_encrypted_key_is_refused_with_the_way_out(home: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (home / "pki/server.key").write_bytes(octets)
    assert "store it without" in sentence_about("endpoint[0].server_key", home)


def test_a_key_that_cannot_sign_belongs_to_no_certificate(home: Path) -> None:
    key = x25519.X25519PrivateKey.generate()
    (home / "pki/server.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert "does not belong to the key" in sentence_about("endpoint[0].server_certificate", home)


@pytest.mark.parametrize("value", ["", "a\0b", "x" * 5000])
def test_an_impossible_path_is_a_sentence(value: str, home: Path) -> None:
    path = write_config(home, lambda config: config["endpoint"][0].update(server_key=value))
    (problem,) = [problem for problem in check_config(path) if problem.key_path == "endpoint[0].server_key"]
    assert str(problem).isprintable()


def test_contents_of_secrets_are_in_no_repr(home: Path) -> None:
    from gateway.config import load_config

    text = repr(load_config(write_config(home)))
    for name in SECRETS.values():
        assert (home / "pki" / name).read_text().splitlines()[4] not in text
