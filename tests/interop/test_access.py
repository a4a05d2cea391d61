"""Clients reach exactly what their groups' rules allow, and nothing reaches them."""

from __future__ import annotations

import json

import pytest

from tests.lab import OFFICE_HOST, PEOPLE, VAULT_HOST, Site, eventually

pytestmark = pytest.mark.interop

UNROUTED_HOST = "10.20.1.10"


@pytest.mark.parametrize("name", PEOPLE)
def test_groups_decide_who_reaches_what(site: Site, name: str) -> None:
    with site.client(name) as client:
        client.wait_connected()
        assert site.reaches_office(client) == ("engineering" in PEOPLE[name])
        assert site.reaches_vault(client) == ("finance" in PEOPLE[name])


def test_targets_see_the_gateways_address_behind_nat(site: Site) -> None:
    with site.client("alice") as client:
        client.wait_connected()
        assert site.lab.fetch(OFFICE_HOST, "/whoami") == "10.20.0.1"
        assert site.lab.fetch(VAULT_HOST, "/whoami") is None


def test_the_gateway_says_who_is_connected_and_what_they_moved(site: Site) -> None:
    with site.client("alice") as client:
        address = client.wait_connected().address
        assert site.reaches_office(client)
        listed = json.dumps(site.gateway.connections())
        assert "alice" in listed
        assert address in listed
        site.gateway.wait_for_record(
            connection_attempt_status="successful", common_name="alice", client_ip=address, cipher="AES-256-GCM"
        )
    ended = site.gateway.wait_for_record(
        connection_log_type="connection-reset", common_name="alice", reason_code="client-exit"
    )
    assert int(ended["ingress-packets"]) >= 1
    assert int(ended["egress-bytes"]) >= 84


def test_explain_gives_the_verdict_that_packets_get(site: Site) -> None:
    assert "allow" in site.gateway.portway("explain", "--groups", "engineering", "--to", OFFICE_HOST).lower()
    assert "finance" in site.gateway.portway("explain", "--groups", "engineering", "--to", VAULT_HOST)


def test_a_packet_with_another_source_is_dropped_and_counted(site: Site) -> None:
    with site.client("alice") as client:
        connected = client.wait_connected()
        # Replies to the forged address would be routed back into the same tunnel, so silence is the gateway's doing.
        site.lab.client.ip(f"address add 10.80.3.3/32 dev {connected.device}")
        assert not site.lab.client.ping(OFFICE_HOST, interface="10.80.3.3", within_s=1)
        eventually(
            lambda: "spoofed-source" in site.gateway.portway("status", "--json"),
            within_s=10,
            what="the drop is counted",
        )
        assert site.reaches_office(client)


def test_targets_cannot_open_connections_to_clients(site: Site) -> None:
    with site.client("alice") as client:
        address = client.wait_connected().address
        assert site.reaches_office(client)
        assert not site.lab.office.ping(address, within_s=1)


def test_a_split_tunnel_pushes_the_routes_and_nothing_else(site: Site) -> None:
    with site.client("carol") as client:
        pushed = client.wait_connected().pushed
        assert "route 10.20.0.0 255.255.255.0" in pushed
        assert "route 10.30.0.0 255.255.255.0" in pushed
        assert not any(option.startswith("redirect-gateway") for option in pushed)
        assert "10.80.0.1" not in site.lab.client.run("ip", "route", "get", UNROUTED_HOST).stdout
