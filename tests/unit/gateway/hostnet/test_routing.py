from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.hostnet.records import Device, Link, Route, Rule, RuleAction
from gateway.hostnet.routing import TABLE_BASE, RoutingPlan, plan_routing, target_routes
from tests.unit.gateway.hostnet.hosts import LAB, OFFICE, make_spec

if TYPE_CHECKING:
    from policy import EndpointSpec

TUN = Device("portway0", 7)
TABLE = TABLE_BASE + 7
LINKS = {
    name: Link(name, ifindex, is_tun=False, is_up=True, mtu=1500, queue_length=1000)
    for name, ifindex in (("eth1", 3), ("eth2", 4))
}
CLIENTS = IPv4Network("10.80.0.0/22")
OFFICE_WITH_GATEWAY = replace(OFFICE, gateway=IPv4Address("10.20.0.254"))


def plan(spec: EndpointSpec) -> RoutingPlan:
    return plan_routing(TUN, spec, LINKS)


def routes_of(spec: EndpointSpec) -> list[Route]:
    return [route for _, route in plan(spec).target_routes]


def named(spec: EndpointSpec) -> list[tuple[str, str]]:
    return [(str(wanted.destination), wanted.target.name) for wanted in target_routes(spec)]


def test_rules_send_the_tunnel_to_its_table_and_nowhere_else() -> None:
    rules = sorted(plan(make_spec()).rules, key=lambda rule: rule.priority)
    assert rules == [
        Rule(90, TABLE, RuleAction.LOOKUP, input_interface="portway0"),
        Rule(91, TABLE, RuleAction.UNREACHABLE, input_interface="portway0"),
        Rule(92, TABLE, RuleAction.LOOKUP, destination=CLIENTS),
    ]


def test_the_refusal_is_the_first_rule_to_be_added() -> None:
    assert plan(make_spec()).rules[0].action is RuleAction.UNREACHABLE


def test_clients_are_behind_the_tunnel_and_see_the_gateways_address() -> None:
    assert plan(make_spec()).client_route == Route(TABLE, CLIENTS, 7, preferred_source=IPv4Address("10.80.0.1"))


def test_destinations_on_the_link_need_no_gateway_and_others_take_it() -> None:
    spec = make_spec("main", OFFICE_WITH_GATEWAY, routes=[("10.20.0.128/25", "office"), ("10.30.0.0/16", "office")])
    assert routes_of(spec) == [
        Route(TABLE, IPv4Network("10.20.0.128/25"), 3),
        Route(TABLE, IPv4Network("10.30.0.0/16"), 3, gateway=IPv4Address("10.20.0.254")),
    ]


def test_local_routes_stay_in_the_data_plane() -> None:
    assert named(make_spec("main", OFFICE, routes=[(str(CLIENTS), "local")])) == []


def test_a_route_that_covers_its_targets_own_network_reaches_it_without_the_gateway() -> None:
    spec = make_spec("main", OFFICE_WITH_GATEWAY, routes=[("0.0.0.0/0", "office")])
    assert [(str(route.destination), route.gateway is None) for route in routes_of(spec)] == [
        ("10.20.0.0/24", True),
        ("0.0.0.0/0", False),
    ]


def test_a_targets_own_network_follows_the_most_specific_route() -> None:
    through_lab = make_spec("main", OFFICE, LAB, routes=[("0.0.0.0/0", "office"), ("10.20.0.0/16", "lab")])
    assert named(through_lab) == [("10.20.0.0/16", "lab"), ("0.0.0.0/0", "office")]
    unrouted = make_spec("main", OFFICE, LAB, routes=[("10.0.0.0/8", "lab")])
    assert ("10.20.0.0/24", "office") not in named(unrouted)


def test_an_interface_that_is_missing_or_down_costs_its_own_target_only() -> None:
    links = {"eth1": LINKS["eth1"], "eth2": replace(LINKS["eth2"], is_up=False)}
    gone = replace(LAB, name="gone", interface="eth9", cidr=IPv4Network("10.22.0.0/24"))
    planned = plan_routing(TUN, make_spec("main", OFFICE, LAB, gone), links)
    assert planned.interfaces == {"eth1"}
    assert [(problem.endpoint, problem.target_network) for problem in planned.problems] == [
        ("main", "lab"),
        ("main", "gone"),
    ]
    assert "is down" in planned.problems[0].text
    assert "does not exist" in planned.problems[1].text


def test_names_that_nftables_would_read_otherwise_are_refused() -> None:
    for name in ("eth*", "@opened", "a b", "x" * 16, ""):
        planned = plan_routing(TUN, make_spec("main", replace(OFFICE, interface=name)), LINKS)
        assert not planned.target_routes
        assert "rename the interface" in planned.problems[0].text


networks = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.integers(min_value=0x0A000000, max_value=0x0A0000FF),
    st.integers(min_value=20, max_value=32),
)


@given(st.dictionaries(networks, st.sampled_from(["a", "b", "local"]), max_size=8), networks, networks)
def test_added_link_routes_never_change_which_target_a_destination_has(
    decided: dict[IPv4Network, str], first: IPv4Network, second: IPv4Network
) -> None:
    targets = (replace(OFFICE, name="a", cidr=first), replace(OFFICE, name="b", cidr=second))
    spec = make_spec(
        "main",
        *targets,
        routes=[(str(network), name) for network, name in decided.items()] or [("10.255.0.0/16", "local")],
    )
    planned = {wanted.destination: wanted.target.name for wanted in target_routes(spec)}
    written = {route.destination: route.target for route in spec.routes}
    for address in map(IPv4Address, range(0x0A000000, 0x0A000100, 5)):
        assert longest(planned | {n: t for n, t in written.items() if t == "local"}, address) == longest(
            written, address
        )


def longest(table: dict[IPv4Network, str], address: IPv4Address) -> str | None:
    matching = [network for network in table if address in network]
    return table[max(matching, key=lambda network: network.prefixlen)] if matching else None
