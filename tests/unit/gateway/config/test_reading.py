from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ConfigError, LogGroupSettings, check_config, load_config
from gateway.config.reading import MAX_CONFIG_SIZE
from policy import ControlChannelProtection, HostFacts
from tests.unit.gateway.config_files import Table, write_config


def sentence_about(path: Path) -> str:
    (problem,) = check_config(path)
    assert problem.key_path == ""
    assert str(problem).isprintable()
    with pytest.raises(ConfigError, match="^" + str(problem)[:20]):
        load_config(path)
    return str(problem)


def test_a_good_file_becomes_settings_and_a_spec(home: Path) -> None:
    config = load_config(write_config(home))
    assert config.settings.node == socket.gethostname()
    assert config.settings.control_socket == Path("/var/lib/portway/portway.sock")
    assert config.settings.pki_dir == home / "pki"
    (endpoint,) = config.spec.endpoints
    assert endpoint.control_channel.accept[0] is ControlChannelProtection.TLS_CRYPT_V2
    assert endpoint.server_certificate.certificate_chain == (home / "pki/server.crt").read_bytes()


def test_two_readings_of_one_file_are_equal(home: Path) -> None:
    path = write_config(home)
    assert load_config(path) == load_config(path)


def test_the_files_that_it_came_from_are_listed_to_be_watched(home: Path) -> None:
    config = load_config(write_config(home))
    names = {file.relative_to(home).as_posix() for file in config.files}
    assert config.files[0] == home / "config.toml"
    assert names == {
        "config.toml",
        "pki/server.crt",
        "pki/server.key",
        "pki/ca.crt",
        "pki/crl.pem",
        "pki/tls-crypt.key",
        "pki/tls-auth.key",
        "pki/tls-crypt-v2.key",
    }


def test_paths_are_relative_to_the_file_and_not_to_where_one_stands(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_config(home)
    monkeypatch.chdir(home)
    here = load_config(Path("config.toml"))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert load_config(home / "config.toml") == here


def test_settings_can_be_set(home: Path) -> None:
    def change(config: Table) -> None:
        config["gateway"].update(state_dir="state", control_socket="/run/x.sock", node="n1", pki_dir="/pki")
        config["gateway"]["connection_log"].update(file="", rotate_mib=0, journal=True)

    settings = load_config(write_config(home, change)).settings
    assert settings.state_dir == home / "state"
    assert settings.control_socket == Path("/run/x.sock")
    assert settings.pki_dir == Path("/pki")
    assert settings.node == "n1"
    assert settings.log_groups["default"] == LogGroupSettings(None, rotate_bytes=0, journal=True)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    assert "does not exist" in sentence_about(tmp_path / "none.toml")


def test_a_directory_is_a_sentence(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in sentence_about(tmp_path)


def test_a_pipe_is_a_sentence_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in sentence_about(tmp_path / "pipe")


def test_a_huge_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    with path.open("wb") as file:
        file.truncate(MAX_CONFIG_SIZE + 1)
    assert "too large" in sentence_about(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe", "is no UTF-8 text"),
        ("name = 'é'".encode("latin-1"), "is no UTF-8 text: octet 8 is 0xe9"),
        ("[gateway]".encode("utf-16"), "is no UTF-8 text"),
        (b"[gateway", "not valid TOML"),
        (b"a = " + b"9" * 10_000, "not valid TOML"),
        (b"a = " + b"[" * 100_000, "nests"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"\x00", "not valid TOML"),
    ],
    ids=["binary", "latin-1", "utf-16", "cut short", "endless number", "deep nesting", "repeated key", "nul"],
)
def test_what_is_no_toml_is_a_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    assert words in sentence_about(path)


@pytest.mark.parametrize("content", ["", "endpoint = []", "gateway = 1", "endpoint = 7", '[[endpoint]]\nname = "x"'])
def test_a_file_with_too_little_in_it_is_sentences(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(content)
    problems = check_config(path)
    assert any(problem.key_path.startswith("endpoint") for problem in problems)


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(home: Path) -> None:
    path = write_config(home)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert check_config(path) == ()


def test_the_host_is_looked_at_where_it_is_told_of(home: Path) -> None:
    problem, _ = check_config(write_config(home), lambda _settings: HostFacts(()))
    assert str(problem).startswith('endpoint[0].target_network[0].interface (endpoint "main"): ')


@given(st.binary(max_size=200))
def test_no_octets_lead_to_anything_but_sentences(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    assert check_config(path)
