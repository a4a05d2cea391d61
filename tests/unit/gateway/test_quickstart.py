from __future__ import annotations

import tomllib
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface
from pathlib import Path

import pytest

from gateway.quickstart import (
    QuickstartError,
    Uplink,
    build_config,
    choose_pool,
    find_uplink,
    parse_default_interface,
)
from policy.host_facts import HostFacts, HostInterface

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
DEFAULT = "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
BETTER = "eth1\t00000000\t010200C0\t0003\t0\t0\t50\t00000000\t0\t0\t0\n"
HALF = "tun0\t00000000\t0101000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"
NETWORK = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"

UPLINK = Uplink("eth0", IPv4Interface("192.0.2.2/24"))


def facts(*addresses: IPv4Interface | IPv6Interface) -> HostFacts:
    return HostFacts((HostInterface("lo", (IPv4Interface("127.0.0.1/8"),)), HostInterface("eth0", addresses)))


@pytest.mark.parametrize(
    ("routes", "interface"),
    [(DEFAULT + NETWORK, "eth0"), (NETWORK + DEFAULT + BETTER, "eth1"), (HALF + DEFAULT, "eth0")],
    ids=["the only one", "the least metric", "not half of the world"],
)
def test_the_default_route_is_found(routes: str, interface: str) -> None:
    assert parse_default_interface(HEADER + routes) == interface


def test_a_host_without_a_default_route_is_told_so() -> None:
    with pytest.raises(QuickstartError, match="no default route"):
        parse_default_interface(HEADER + NETWORK)


def test_the_uplink_has_the_interfaces_ipv4_address() -> None:
    found = find_uplink(facts(IPv6Interface("2001:db8::2/64"), UPLINK.address), HEADER + DEFAULT)
    assert found == UPLINK


def test_an_uplink_without_an_ipv4_address_is_an_error() -> None:
    with pytest.raises(QuickstartError, match="eth0, has no IPv4 address"):
        find_uplink(facts(IPv6Interface("2001:db8::2/64")), HEADER + DEFAULT)


def test_clients_get_a_range_that_is_not_in_use() -> None:
    assert choose_pool([]) == IPv4Network("10.80.0.0/22")
    taken = [IPv4Network("10.80.3.0/24"), IPv4Network("10.81.0.0/16"), IPv4Network("192.0.2.0/24")]
    assert choose_pool(taken) == IPv4Network("10.82.0.0/22")


def test_where_everything_is_in_use_a_person_has_to_choose() -> None:
    with pytest.raises(QuickstartError, match="by hand"):
        choose_pool([IPv4Network("10.0.0.0/8")])


def test_the_configuration_leads_to_the_uplinks_network() -> None:
    text = build_config(UPLINK, IPv4Network("10.80.0.0/22"), state=Path("/state"), pki=Path("/state/pki"))
    endpoint = tomllib.loads(text)["endpoint"][0]
    assert endpoint["client_cidr_block"] == "10.80.0.0/22"
    assert endpoint["target_network"] == [{"name": "uplink", "interface": "eth0", "cidr": "192.0.2.0/24", "nat": True}]
    assert endpoint["route"] == [{"destination": "192.0.2.0/24", "target": "uplink"}]
    assert endpoint["authorization_rule"] == [{"destination": "192.0.2.0/24", "all": True}]


def test_endpoints_of_the_api_are_where_the_file_s_is_and_know_the_same_groups() -> None:
    text = build_config(UPLINK, IPv4Network("10.80.0.0/22"), state=Path("/state"), pki=Path("/state/pki"))
    config = tomllib.loads(text)
    (endpoint,) = config["endpoint"]
    assert config["endpoint_defaults"] == {
        "public_hostname": endpoint["public_hostname"],
        "groups_from": endpoint["authentication"]["groups_from"],
    }
    assert endpoint["public_hostname"] == "192.0.2.2"
