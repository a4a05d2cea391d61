from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given

from policy.access import Verdict, compile_access
from policy.explain import explain
from policy.spec import LOCAL, EndpointSpec
from tests.unit.policy.specs import (
    ENDPOINT,
    OFFICE,
    addresses,
    allow,
    edges,
    endpoint,
    endpoints,
    filtered,
    group,
    group_sets,
    ip,
    route,
    rule,
)

LAYERED = endpoint(
    routes=(route("10.0.0.0/8"), route("10.20.0.0/24"), route("10.80.0.0/22", LOCAL)),
    authorization_rules=(
        rule("0.0.0.0/0"),
        rule("10.20.0.0/24", "sales"),
        rule("10.20.0.0/16", "engineering"),
        rule("10.20.0.0/24", "ops"),
    ),
)


def test_the_route_with_the_longest_prefix_and_its_target_are_named() -> None:
    explanation = explain(LAYERED, {"ops"}, ip("10.20.0.9"))
    assert explanation.route == route("10.20.0.0/24")
    assert explanation.target == OFFICE


def test_a_local_route_has_no_target_network() -> None:
    explanation = explain(LAYERED, set(), ip("10.80.0.9"))
    assert (explanation.verdict, explanation.target) == (Verdict.LOCAL, None)
    assert explanation.route == route("10.80.0.0/22", LOCAL)


def test_all_rules_at_the_deciding_prefix_are_named_and_who_they_let_pass() -> None:
    explanation = explain(LAYERED, {"ops"}, ip("10.20.0.9"))
    assert explanation.prefix == IPv4Network("10.20.0.0/24")
    assert explanation.rules == (rule("10.20.0.0/24", "sales"), rule("10.20.0.0/24", "ops"))
    assert explanation.granted_by == (rule("10.20.0.0/24", "ops"),)
    assert explanation.allowed


def test_wider_rules_are_named_as_shadowed_even_where_they_would_let_the_client_pass() -> None:
    explanation = explain(LAYERED, {"engineering"}, ip("10.20.0.9"))
    assert explanation.verdict is Verdict.NO_RULE
    assert explanation.granted_by == ()
    assert explanation.shadowed == (rule("10.20.0.0/16", "engineering"), rule("0.0.0.0/0"))


def test_what_no_router_forwards_is_said_to_be_so() -> None:
    explanation = explain(LAYERED, set(), ip("224.0.0.251"))
    assert explanation.unroutable == IPv4Network("224.0.0.0/4")
    assert not explanation.allowed
    assert explanation.remedies == ()


def test_a_source_outside_the_client_range_is_denied_whatever_the_rules_say() -> None:
    mine = explain(ENDPOINT, {"engineering"}, ip("10.20.0.9"), source=ip("10.80.0.2"))
    spoofed = explain(ENDPOINT, {"engineering"}, ip("10.20.0.9"), source=ip("192.0.2.1"))
    assert (mine.allowed, mine.is_spoofed) == (True, False)
    assert (spoofed.allowed, spoofed.is_spoofed) == (False, True)


def test_port_and_protocol_change_nothing_for_rules() -> None:
    plain = explain(ENDPOINT, {"engineering"}, ip("10.20.0.9"))
    asked = explain(ENDPOINT, {"engineering"}, ip("10.20.0.9"), 443, "tcp")
    assert (asked.port, asked.protocol) == (443, "tcp")
    assert asked.verdict is plain.verdict


def test_a_security_group_decides_by_port_and_protocol() -> None:
    spec = filtered(group(allow("tcp", (443, 443), "10.20.0.0/25")))
    assert explain(spec, set(), ip("10.20.0.9"), 443, "tcp").allowed
    assert not explain(spec, set(), ip("10.20.0.9"), 444, "tcp").allowed
    assert not explain(spec, set(), ip("10.20.0.9"), 443, "udp").allowed
    assert not explain(spec, set(), ip("10.20.0.200"), 443, "tcp").allowed


def test_where_port_or_protocol_are_left_open_it_is_enough_that_some_of_it_passes() -> None:
    spec = filtered(group(allow("tcp", (443, 443)), allow("icmp", (8, -1))))
    assert explain(spec, set(), ip("10.20.0.9")).allowed
    assert explain(spec, set(), ip("10.20.0.9"), 443).allowed
    assert explain(spec, set(), ip("10.20.0.9"), protocol="tcp").allowed
    assert not explain(spec, set(), ip("10.20.0.9"), 444).allowed
    assert not explain(spec, set(), ip("10.20.0.9"), protocol="udp").allowed


def test_groups_are_asked_only_where_routes_and_rules_let_a_packet_come_to_them() -> None:
    filtering = endpoint(target_networks=filtered(group()).target_networks)
    assert explain(filtering, set(), ip("10.20.0.9"), 443, "tcp").security is None
    assert explain(filtering, {"engineering"}, ip("10.20.0.9"), 443, "tcp").security is not None
    assert explain(filtered(group(allow())), set(), ip("10.20.0.9"), 443, "tcp").security is None


@given(endpoints, group_sets, addresses)
def test_an_explanation_agrees_with_the_compiled_table(
    spec: EndpointSpec, groups: frozenset[str], address: IPv4Address
) -> None:
    table = compile_access(spec, groups)
    for destination in (address, *edges(spec)[:6]):
        explanation = explain(spec, groups, destination)
        assert explanation.verdict is table.verdict(destination.packed)
        assert explanation.allowed == (explanation.route is not None and bool(explanation.granted_by))
        assert all(destination in rule.destination for rule in (*explanation.rules, *explanation.shadowed))
