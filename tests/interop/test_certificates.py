"""Who is not let in, and that the connection log says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import LabAuthority, OpenVpnClient, Site, endpoint, generate_key, without_inlined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab import Issued

pytestmark = pytest.mark.interop

KEY_KINDS = ("tls-crypt-v2", "tls-crypt", "tls-auth")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LabAuthority:
    """One that the endpoint `careless` trusts, and that issues anything."""
    return LabAuthority(tmp_path_factory.mktemp("authority"), "Careless CA")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path, authority: LabAuthority) -> Iterator[Site]:
    """Two endpoints: one with the authority of `portway pki`, one with the careless one beside it and no CRL."""
    directory = tmp_path_factory.mktemp("site")
    roots = directory / "roots.crt"
    roots.write_bytes((pki / "ca.crt").read_bytes() + authority.certificate.read_bytes())
    careless = endpoint(
        name="careless",
        vpn_port=1443,
        client_cidr_block="10.84.0.0/22",
        authorization_rule=[],
        authentication={"type": "certificate-authentication", "client_root_certificate_chain": str(roots)},
    )
    with Site(directory, pki, endpoint(), careless, clients=len(KEY_KINDS)) as site:
        yield site


def client_with(site: Site, issued: Issued, *, endpoint: str) -> OpenVpnClient:
    """A client with another certificate than the profile's own."""
    profile = without_inlined(site.profile("dave", endpoint=endpoint), "cert", "key")
    options = ("--cert", issued.certificate, "--key", issued.key)
    return OpenVpnClient(site.lab.client, profile, *options, log=site.lab.log("client"))


def expect_refusal(site: Site, client: OpenVpnClient, reason: str) -> None:
    """The log says why, and the client was told no address."""
    with client:
        site.gateway.wait_for_record(connection_attempt_status="failed", reason_code=reason)
        assert "PUSH_REPLY" not in client.text()


def test_a_good_certificate_of_the_careless_authority_is_let_in(site: Site, authority: LabAuthority) -> None:
    with client_with(site, authority.client("erin"), endpoint="careless") as client:
        client.wait_connected()


def test_an_expired_certificate(site: Site, authority: LabAuthority) -> None:
    late = authority.client("late", days=-2)
    expect_refusal(site, client_with(site, late, endpoint="careless"), "certificate-expired")


def test_a_certificate_of_a_foreign_authority(site: Site, tmp_path: Path) -> None:
    foreign = LabAuthority(tmp_path, "Foreign CA").client("alice")
    expect_refusal(site, client_with(site, foreign, endpoint="main"), "unknown-ca")


def test_a_servers_certificate_in_a_clients_hands(site: Site, authority: LabAuthority) -> None:
    impostor = authority.server("impostor")
    expect_refusal(site, client_with(site, impostor, endpoint="careless"), "certificate-wrong-usage")


def test_a_revoked_certificate_ends_its_session_and_is_refused_from_then_on(site: Site) -> None:
    with site.client("bob") as client, site.client("carol", host=2) as bystander:
        client.wait_connected()
        bystander.wait_connected()
        mark = bystander.mark()
        site.revoke("bob")
        site.gateway.wait_for_record(
            connection_log_type="connection-reset", common_name="bob", reason_code="certificate-revoked"
        )
        assert bystander.text()[mark:] == ""
    expect_refusal(site, site.client("bob"), "certificate-revoked")


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_a_wrong_control_key_gets_no_answer(site: Site, kind: str, tmp_path: Path) -> None:
    # The log keeps to one record a minute for each source network: every kind has its own.
    host = KEY_KINDS.index(kind) + 1
    profile = without_inlined(site.profile("alice", protection=kind, host=host), kind)
    if kind == "tls-crypt-v2":
        server_key = generate_key("tls-crypt-v2-server", tmp_path / "server.key")
        key = generate_key("tls-crypt-v2-client", tmp_path / "client.key", "--tls-crypt-v2", server_key)
    else:
        key = generate_key("secret", tmp_path / "static.key")
    options = (f"--{kind}", key)
    with OpenVpnClient(site.lab.clients[host - 1], profile, *options, log=site.lab.log(kind)) as client:
        site.gateway.wait_for_record(reason_code="wrong-control-key", device_ip=f"198.18.{host}.2")
        assert "TLS: Initial packet" not in client.text()


def test_a_client_without_a_common_cipher_is_told(site: Site) -> None:
    with site.client("alice", "--data-ciphers", "AES-192-GCM") as client:
        client.wait_for("AUTH_FAILED")
        site.gateway.wait_for_record(connection_attempt_status="failed", reason_code="no-common-cipher")
