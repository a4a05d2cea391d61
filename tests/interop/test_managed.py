"""Endpoints that are made at run time serve stock clients, and whatever is changed is in force on live sessions."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from gateway.store import schema
from tests.lab import OFFICE_HOST, VAULT_HOST, eventually
from tests.lab.gateway import portway
from tests.lab.managed import PORT, VAULT_ID, ManagedSite
from tests.lab.network import OFFICE_NETWORK, VAULT_NETWORK
from tests.lab.openvpn import OpenVpnClient
from tests.lab.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[ManagedSite]:
    with ManagedSite(tmp_path_factory.mktemp("site"), pki) as site:
        yield site


@pytest.fixture
def endpoint_id(site: ManagedSite) -> Iterator[str]:
    """An endpoint that runs and leads to the office, for engineering; deleted in the end."""
    endpoint_id = site.create()
    site.associate(endpoint_id)
    site.authorize(endpoint_id, OFFICE_NETWORK, "engineering")
    site.wait_for(schema.endpoint, "available", id=endpoint_id)
    yield endpoint_id
    delete(site, endpoint_id)


def delete(site: ManagedSite, endpoint_id: str) -> None:
    for row in site.rows(schema.association):
        if row.endpoint_id == endpoint_id and row.ended_at is None:
            site.disassociate(endpoint_id, row.id)
            site.wait_for(schema.association, "disassociated", id=row.id)
    site.call("DeleteClientVpnEndpoint", ClientVpnEndpointId=endpoint_id)
    site.wait_for(schema.endpoint, "deleted", id=endpoint_id)


def is_listening(site: ManagedSite) -> bool:
    return f":{PORT} " in site.lab.gateway.run("ss", "-lun").stdout


def test_a_stock_client_reaches_what_the_rules_of_a_new_endpoint_allow(site: ManagedSite, endpoint_id: str) -> None:
    with site.connect(endpoint_id, "alice") as alice:
        connected = alice.wait_connected()
        assert connected.address.startswith("10.90.")
        assert "route 10.20.0.0 255.255.255.0" in connected.pushed
        assert site.reaches_office(alice)
        assert not site.reaches_vault(alice)
        (row,) = [row for row in site.rows(schema.authorization_rule) if row.endpoint_id == endpoint_id]
        assert row.status_code == "active"
        site.wait_for(schema.connection, "active", endpoint_id=endpoint_id, common_name="alice")
    site.wait_for(schema.connection, "terminated", endpoint_id=endpoint_id, common_name="alice")


def test_a_rule_that_comes_or_goes_is_in_force_on_the_live_session(site: ManagedSite, endpoint_id: str) -> None:
    with site.connect(endpoint_id, "bob") as bob:
        bob.wait_connected()
        mark = bob.mark()
        assert not bob.ping(OFFICE_HOST, within_s=1)
        site.authorize(endpoint_id, OFFICE_NETWORK, "finance")
        eventually(lambda: bob.ping(OFFICE_HOST, within_s=1), within_s=5, what="the new rule lets bob in")
        site.revoke_rule(endpoint_id, OFFICE_NETWORK, "finance")
        eventually(lambda: not bob.ping(OFFICE_HOST, within_s=1), within_s=10, what="without it he is out again")
        assert "SIGUSR1" not in bob.text()[mark:]
        assert all(
            row.group_id != "finance" for row in site.rows(schema.authorization_rule) if row.endpoint_id == endpoint_id
        )


def test_the_end_of_the_last_association_ends_sessions_and_frees_port_and_device(site: ManagedSite) -> None:
    endpoint_id = site.create()
    association_id = site.associate(endpoint_id)
    site.wait_for(schema.endpoint, "available", id=endpoint_id)
    assert is_listening(site)
    assert endpoint_id in site.lab.gateway.run("ip", "link").stdout
    with site.connect(endpoint_id, "alice") as alice:
        alice.wait_connected()
        mark = alice.mark()
        site.disassociate(endpoint_id, association_id)
        alice.wait_for("SIGUSR1", after=mark)
        site.wait_for(schema.association, "disassociated", id=association_id)
    assert not is_listening(site)
    assert endpoint_id not in site.lab.gateway.run("ip", "link").stdout
    delete(site, endpoint_id)


def test_a_second_network_reaches_clients_that_are_connected(site: ManagedSite, endpoint_id: str) -> None:
    with site.connect(endpoint_id, "carol") as carol:
        carol.wait_connected()
        mark = carol.mark()
        site.authorize(endpoint_id, VAULT_NETWORK, "finance")
        site.associate(endpoint_id, VAULT_ID)
        carol.wait_connected(after=mark)
        eventually(lambda: carol.ping(VAULT_HOST, within_s=1), within_s=10, what="carol reaches the vault")
        assert site.reaches_office(carol)


def has_list(site: ManagedSite, endpoint_id: str) -> bool:
    status = json.loads(site.gateway.portway("status", "--json"))
    (endpoint,) = [one for one in status["endpoints"] if one["name"] == endpoint_id]
    return any("revocation list" in expiry["what"] for expiry in endpoint["expiries"])


def test_a_revocation_list_turns_away_whom_it_names_for_as_long_as_it_is_there(
    site: ManagedSite, endpoint_id: str
) -> None:
    portway("pki", "client", "eve", "--group=engineering", "--dir", site.pki)
    with site.connect(endpoint_id, "alice") as alice, site.connect(endpoint_id, "eve") as eve:
        alice.wait_connected()
        eve.wait_connected()
        mark = eve.mark()
        portway("pki", "revoke", "eve", "--dir", site.pki)
        site.call(
            "ImportClientVpnClientCertificateRevocationList",
            ClientVpnEndpointId=endpoint_id,
            CertificateRevocationList=(site.pki / "crl.pem").read_text(),
        )
        site.wait_for(schema.crl, "active", endpoint_id=endpoint_id)
        assert has_list(site, endpoint_id)
        eve.wait_for("AUTH_FAILED|TLS Error|SIGTERM", after=mark)
        assert site.reaches_office(alice)
        site.call("DeleteClientVpnClientCertificateRevocationList", ClientVpnEndpointId=endpoint_id)
        eventually(lambda: not has_list(site, endpoint_id), within_s=5, what="the gateway has no list any more")
        with site.connect(endpoint_id, "eve") as again:
            again.wait_connected()
        assert site.reaches_office(alice)


def test_the_file_s_endpoint_is_shown_and_goes_on(site: ManagedSite, endpoint_id: str) -> None:
    (own,) = [row for row in site.rows(schema.endpoint) if row.origin == "file"]
    assert (own.name, own.status_code, own.declared_in) == ("main", "available", f"{site.config_file} on lab")
    with site.client("alice") as alice:
        alice.wait_connected()
        assert site.reaches_office(alice)


def test_a_daemon_that_is_killed_anywhere_converges_when_it_starts_again(site: ManagedSite) -> None:
    endpoint_id = site.create()
    site.associate(endpoint_id)
    site.authorize(endpoint_id, OFFICE_NETWORK, "engineering")
    site.gateway.kill()
    other = site.create(ClientCidrBlock="10.91.0.0/22", VpnPort=1195)
    site.associate(other)
    try:
        site.start_gateway()
        site.wait_for(schema.endpoint, "available", id=endpoint_id)
        site.wait_for(schema.endpoint, "available", id=other)
        site.wait_for(schema.authorization_rule, "active", endpoint_id=endpoint_id)
        with site.connect(endpoint_id, "alice") as alice:
            alice.wait_connected()
            assert site.reaches_office(alice)
            site.gateway.kill()
            site.revoke_rule(endpoint_id, OFFICE_NETWORK, "engineering")
            mark = alice.mark()
            site.start_gateway()
            alice.signal(signal.SIGUSR1)
            alice.wait_connected(after=mark)
            assert not alice.ping(OFFICE_HOST, within_s=1)
    finally:
        delete(site, endpoint_id)
        delete(site, other)


@pytest.mark.postgresql
def test_a_database_that_goes_away_costs_no_session_and_no_login(tmp_path: Path, pki: Path, postgres: Postgres) -> None:
    with ManagedSite(tmp_path, pki, store_url=postgres.url(postgres.create_database())) as site:
        endpoint_id = site.create()
        site.associate(endpoint_id)
        site.authorize(endpoint_id, OFFICE_NETWORK, "engineering")
        site.wait_for(schema.authorization_rule, "active", endpoint_id=endpoint_id)
        profile = site.exported(endpoint_id, "carol")
        with site.connect(endpoint_id, "alice") as alice:
            alice.wait_connected()
            mark = alice.mark()
            postgres.stop_immediately()
            eventually(lambda: "cannot be used" in site.gateway.portway("status"), within_s=30, what="it is noticed")
            assert site.reaches_office(alice)
            with OpenVpnClient(site.lab.client, profile, log=site.lab.log("client-carol")) as carol:
                carol.wait_connected()
                assert site.reaches_office(carol)
                postgres.start()
                site.wait_for(schema.connection, "active", within_s=60, common_name="carol")
            site.revoke_rule(endpoint_id, OFFICE_NETWORK, "engineering")
            eventually(lambda: not alice.ping(OFFICE_HOST, within_s=1), within_s=10, what="the rule is gone")
            assert "SIGUSR1" not in alice.text()[mark:]


@pytest.mark.postgresql
def test_a_gateway_that_starts_without_its_database_serves_what_it_knew(
    tmp_path: Path, pki: Path, postgres: Postgres
) -> None:
    with ManagedSite(tmp_path, pki, store_url=postgres.url(postgres.create_database())) as site:
        endpoint_id = site.create()
        site.associate(endpoint_id)
        site.authorize(endpoint_id, OFFICE_NETWORK, "engineering")
        site.wait_for(schema.authorization_rule, "active", endpoint_id=endpoint_id)
        profile = site.exported(endpoint_id, "alice")
        site.gateway.kill()
        postgres.stop_immediately()
        site.start_gateway()
        try:
            with OpenVpnClient(site.lab.client, profile, log=site.lab.log("client-alice")) as alice:
                alice.wait_connected()
                assert site.reaches_office(alice)
        finally:
            postgres.start()
        site.wait_for(schema.connection, "terminated", within_s=60, common_name="alice")
