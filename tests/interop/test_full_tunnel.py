"""What the usual endpoint leaves off: a full tunnel, routed targets, reachable clients, client to client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import OFFICE_HOST, OFFICE_NETWORK, VAULT_HOST, OpenVpnClient, Site, endpoint, rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop

UNROUTED_HOST = "10.20.1.10"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[Site]:
    networks = [
        {"name": "office", "interface": "office", "cidr": OFFICE_NETWORK, "nat": False},
        {"name": "vault", "interface": "vault", "cidr": "10.30.0.0/24", "gateway": VAULT_HOST},
    ]
    routes = [
        {"destination": OFFICE_NETWORK, "target": "office"},
        {"destination": "0.0.0.0/0", "target": "vault"},
        {"destination": "10.80.0.0/22", "target": "local"},
    ]
    full = endpoint(
        split_tunnel=False,
        clients_reachable=True,
        dns_servers=["10.20.0.53"],
        search_domains=["corp.example"],
        target_network=networks,
        route=routes,
        authorization_rule=[rule("0.0.0.0/0"), rule(OFFICE_NETWORK), rule("10.80.0.0/22", "engineering")],
    )
    with Site(tmp_path_factory.mktemp("full"), pki, full, clients=2) as site:
        yield site


def test_a_full_tunnel_takes_everything(site: Site) -> None:
    with site.client("alice") as client:
        pushed = client.wait_connected().pushed
        assert any(option.startswith("redirect-gateway") for option in pushed)
        assert "dhcp-option DNS 10.20.0.53" in pushed
        assert "via 10.80.0.1" in site.lab.client.run("ip", "route", "get", UNROUTED_HOST).stdout
        assert site.lab.fetch(VAULT_HOST, "/whoami") == "10.30.0.1"


def test_enforced_routes_take_the_clients_own_network_into_the_tunnel(site: Site) -> None:
    """Where the gateway is no neighbour itself: to one that is, clients have to keep their own way."""
    neighbour, elsewhere = "198.18.1.77", site.profile("alice", host=2)
    with OpenVpnClient(site.lab.client, elsewhere, log=site.lab.log("alice")) as client:
        client.wait_connected()
        assert "via 10.80.0.1" not in site.lab.client.run("ip", "route", "get", neighbour).stdout
        mark = client.mark()
        site.config["endpoint"][0]["client_route_enforcement"] = True
        site.gateway.write(site.config)
        site.gateway.portway("reload")
        connected = client.wait_connected(after=mark)
        assert "redirect-gateway def1 bypass-dhcp block-local" in connected.pushed
        assert "via 10.80.0.1" in site.lab.client.run("ip", "route", "get", neighbour).stdout
        assert site.lab.fetch(VAULT_HOST, "/whoami") == "10.30.0.1"


def test_routed_targets_see_the_clients_own_address(site: Site) -> None:
    with site.client("alice") as client:
        address = client.wait_connected().address
        assert site.lab.fetch(OFFICE_HOST, "/whoami") == address


def test_targets_reach_clients_where_the_endpoint_says_so(site: Site) -> None:
    with site.client("alice") as client:
        assert site.lab.office.ping(client.wait_connected().address, within_s=5)


def test_clients_with_a_rule_reach_each_other(site: Site) -> None:
    with site.client("alice") as alice, site.client("carol", host=2) as carol:
        addresses = alice.wait_connected().address, carol.wait_connected().address
        assert alice.ping(addresses[1])
        assert carol.ping(addresses[0])


def test_a_client_without_a_rule_reaches_no_other(site: Site) -> None:
    with site.client("alice") as alice, site.client("bob", host=2) as bob:
        addresses = alice.wait_connected().address, bob.wait_connected().address
        assert not bob.ping(addresses[0], within_s=1)
