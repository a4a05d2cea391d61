"""The API serves with the certificate that is configured, or with one of its own for every name that it has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.api.certificate import (
    CertificateError,
    api_names,
    make_tls_context,
    own_certificate_file,
)
from gateway.config import load_config
from gateway.pki import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import GatewaySettings

CONFIG = """
[gateway]
state_dir = "state"
pki_dir = "pki"

[api]
listen = ["127.0.0.1:8443", "0.0.0.0:8444", "[2001:db8::1]:8443", "[::]:8444"]
public_hostname = "api.example.com"

[[network]]
name = "office"
cidr = "10.20.0.0/24"
interface = "lo"
"""


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    (tmp_path / "config.toml").write_text(CONFIG)
    return load_config(tmp_path / "config.toml").settings


def with_files(settings: GatewaySettings, name: Path) -> GatewaySettings:
    files = replace(settings.api, certificate=name.with_suffix(".crt"), private_key=name.with_suffix(".key"))
    return replace(settings, api=files)


def test_it_is_named_by_whatever_callers_may_reach_it_by(settings: GatewaySettings) -> None:
    names = api_names(settings.api)
    assert names[0] == "api.example.com"
    assert {"localhost", "127.0.0.1", "::1", "2001:db8::1"} <= set(names)
    assert not {"0.0.0.0", "::"} & set(names)
    assert len(names) == len(set(names))


def test_its_own_is_made_and_loaded(settings: GatewaySettings) -> None:
    make_tls_context(settings)
    assert own_certificate_file(settings).exists()


def test_the_configured_one_comes_first(settings: GatewaySettings, tmp_path: Path) -> None:
    Authority(tmp_path / "pki").init()
    Authority(tmp_path / "pki").issue_server("server")
    make_tls_context(with_files(settings, tmp_path / "pki" / "server"))
    assert not own_certificate_file(settings).exists()


def test_one_that_cannot_be_used_is_named(settings: GatewaySettings, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"missing\.crt"):
        make_tls_context(with_files(settings, tmp_path / "missing"))


def test_a_directory_that_cannot_be_written_is_named(settings: GatewaySettings, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory")
    with pytest.raises(CertificateError, match="state"):
        make_tls_context(settings)
