from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, ip_address

import pytest

from policy.host_facts import HostFacts, HostInterface
from policy.problems import Problem, Severity
from policy.spec import LOCAL, EndpointSpec, GatewaySpec
from policy.validate import validate, validate_endpoint
from tests.unit.policy.specs import ENDPOINT, OFFICE, endpoint, gateway, ip, route, rule

HOST = HostFacts(
    (
        HostInterface("lo", (IPv4Interface("127.0.0.1/8"), IPv6Interface("::1/128"))),
        HostInterface("eth0", (IPv4Interface("192.0.2.10/24"), IPv6Interface("2001:db8::10/64"))),
        HostInterface("eth1", (IPv4Interface("10.20.0.2/24"),)),
        HostInterface("portway0", (IPv4Interface("10.80.0.1/22"),), is_own=True),
    )
)

SECOND = endpoint(name="second", client_cidr_block=IPv4Network("10.90.0.0/22"), vpn_port=1194)


def beside(other: EndpointSpec) -> list[tuple[str, str]]:
    return [(problem.key_path, problem.text) for problem in validate(gateway(ENDPOINT, other))]


def on_host(spec: EndpointSpec) -> list[Problem]:
    return list(validate(gateway(spec), HOST))


def test_valid_specs_have_no_problem() -> None:
    assert validate(gateway()) == ()
    assert validate(gateway(ENDPOINT, SECOND), HOST) == ()


def test_a_gateway_may_have_no_endpoint_of_its_own() -> None:
    assert validate(GatewaySpec(()), HOST) == ()


def test_problems_of_every_kind_are_found_at_once_with_their_endpoint() -> None:
    broken = replace(SECOND, vpn_port=0, routes=(route("10.20.0.0/24", "nowhere"),))
    keys = [problem.key_path for problem in validate(gateway(ENDPOINT, broken), HOST)]
    assert keys == ["endpoint[1].vpn_port", "endpoint[1].route[0].target"]


def test_two_endpoints_may_not_share_a_name() -> None:
    ((key, text),) = beside(replace(SECOND, name="main"))
    assert key == "endpoint[1].name"
    assert 'Another endpoint is called "main" too.' in text


def test_one_endpoint_can_be_judged_beside_others_that_are_not() -> None:
    broken = replace(ENDPOINT, name="broken", client_cidr_block=IPv4Network("10.91.0.0/22"), vpn_port=0)
    assert validate_endpoint(SECOND, (ENDPOINT, broken), HOST) == ()
    assert [problem.key_path for problem in validate_endpoint(broken, (SECOND,), HOST)] == ["endpoint.vpn_port"]


def test_an_endpoint_may_be_in_the_way_of_another_in_either_direction() -> None:
    taken = replace(SECOND, client_cidr_block=IPv4Network("10.20.0.0/22"), target_networks=(), routes=())
    into, out_of = validate_endpoint(taken, (ENDPOINT,)), validate_endpoint(ENDPOINT, (taken,))
    assert {problem.key_path for problem in into if problem.severity is Severity.ERROR} == {
        "endpoint.client_cidr_block"
    }
    assert {problem.key_path for problem in out_of} == {
        "endpoint.target_network[0].cidr",
        "endpoint.route[0].destination",
    }


@pytest.mark.parametrize("overlapping", ["10.80.0.0/22", "10.80.1.0/24", "10.80.0.0/16"])
def test_two_client_ranges_may_not_overlap(overlapping: str) -> None:
    ((key, text),) = beside(replace(SECOND, client_cidr_block=IPv4Network(overlapping)))
    assert key == "endpoint[1].client_cidr_block"
    assert f'{overlapping} overlaps 10.80.0.0/22 of the endpoint "main".' in text


@pytest.mark.parametrize(
    ("first", "second", "collides"),
    [
        ("0.0.0.0", "0.0.0.0", True),
        ("0.0.0.0", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::", "192.0.2.1", True),
        ("0.0.0.0", "2001:db8::1", False),
        ("2001:db8::1", "::", True),
    ],
)
def test_two_endpoints_may_not_want_the_same_socket(first: str, second: str, collides: bool) -> None:
    pair = gateway(
        endpoint(listen=ip_address(first)),
        replace(SECOND, vpn_port=443, listen=ip_address(second), transport_protocol=("tcp",)),
    )
    for spec in (pair, GatewaySpec(tuple(replace(e, name=e.name[::-1]) for e in pair.endpoints))):
        found = [problem for problem in validate(spec) if problem.key_path == "endpoint[1].vpn_port"]
        assert [problem.text.split(". ")[0] for problem in found] == (
            [f'The endpoint "{spec.endpoints[0].name}" listens on tcp port 443 too'] if collides else []
        )


def test_one_port_may_serve_two_endpoints_by_different_transports() -> None:
    udp, tcp = endpoint(transport_protocol=("udp",)), replace(SECOND, vpn_port=443, transport_protocol=("tcp",))
    assert validate(gateway(udp, tcp)) == ()


def test_a_target_network_may_not_reach_into_another_endpoints_clients() -> None:
    target = replace(OFFICE, cidr=IPv4Network("10.90.0.0/16"), gateway=None)
    first = endpoint(target_networks=(OFFICE, replace(target, name="lab")))
    (problem,) = validate(gateway(first, SECOND))
    assert problem.key_path == "endpoint[0].target_network[1].cidr"
    assert 'the client range of the endpoint "second"' in problem.text


def test_a_route_may_not_reach_into_another_endpoints_clients() -> None:
    first = endpoint(routes=(route("10.90.0.0/24"),), authorization_rules=(rule("0.0.0.0/0", "ops"),))
    (problem,) = validate(gateway(first, SECOND))
    assert problem.key_path == "endpoint[0].route[0].destination"


def test_default_and_local_routes_of_two_endpoints_do_not_disturb_each_other() -> None:
    everyone = (rule("0.0.0.0/0", "ops"),)
    first = endpoint(routes=(route("0.0.0.0/0"), route("10.80.0.0/22", LOCAL)), authorization_rules=everyone)
    second = replace(SECOND, routes=(route("0.0.0.0/0"), route("10.90.0.0/22", LOCAL)), authorization_rules=everyone)
    assert validate(gateway(first, second)) == ()


def test_the_client_range_may_not_overlap_the_hosts_own_networks() -> None:
    (problem,) = on_host(endpoint(client_cidr_block=IPv4Network("192.0.2.0/28")))
    assert problem.key_path == "endpoint[0].client_cidr_block"
    assert "192.0.2.0/28 overlaps 192.0.2.10/24, which this host has on eth0." in problem.text


def test_a_single_address_of_the_host_counts_too() -> None:
    vip = HostFacts((*HOST.interfaces, HostInterface("dummy0", (IPv4Interface("10.80.2.2/32"),))))
    (problem,) = validate(gateway(), vip)
    assert "which this host has on dummy0" in problem.text


def test_the_gateways_own_tunnel_device_is_no_overlap() -> None:
    assert on_host(ENDPOINT) == []


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "192.0.2.10", "2001:db8::10", "127.0.0.53"])
def test_addresses_of_the_host_may_be_listened_on(listen: str) -> None:
    assert on_host(endpoint(listen=ip_address(listen))) == []


@pytest.mark.parametrize("listen", ["192.0.2.11", "2001:db8::11"])
def test_an_address_that_the_host_lacks_cannot_be_listened_on(listen: str) -> None:
    (problem,) = on_host(endpoint(listen=ip_address(listen)))
    assert problem.key_path == "endpoint[0].listen"
    assert f"This host does not have the address {listen}." in problem.text


def test_a_target_needs_its_interface() -> None:
    (problem,) = on_host(endpoint(target_networks=(replace(OFFICE, interface="eth7"),)))
    assert problem.key_path == "endpoint[0].target_network[0].interface"
    assert problem.text == 'This host has no interface "eth7". Its interfaces are: eth0, eth1, lo.'


def test_a_target_is_not_behind_the_tunnel_itself() -> None:
    found = on_host(endpoint(target_networks=(replace(OFFICE, interface="portway0"),)))
    assert [problem.severity for problem in found] == [Severity.ERROR, Severity.WARNING]
    assert "is a tunnel device of this gateway" in found[0].text


def test_the_host_is_not_its_own_next_hop() -> None:
    (problem,) = on_host(endpoint(target_networks=(replace(OFFICE, gateway=ip("10.20.0.2")),)))
    assert problem.key_path == "endpoint[0].target_network[0].gateway"


def test_an_interface_without_an_address_on_the_target_draws_a_warning() -> None:
    (problem,) = on_host(endpoint(target_networks=(replace(OFFICE, interface="eth0"),)))
    assert problem.severity is Severity.WARNING
    assert "eth0 has no address in 10.20.0.0/24" in problem.text


def test_without_facts_the_host_is_not_looked_at() -> None:
    assert validate(gateway(endpoint(listen=ip("192.0.2.99"), target_networks=(replace(OFFICE, interface="x"),)))) == ()


def test_facts_find_interfaces_by_name() -> None:
    assert HOST.interface("eth1") == HostInterface("eth1", (IPv4Interface("10.20.0.2/24"),))
    assert HOST.interface("eth9") is None
    assert [interface.name for interface in HOST.foreign] == ["lo", "eth0", "eth1"]
