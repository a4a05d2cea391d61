from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given

from policy.access import compile_access, decide, unroutable
from policy.explain_groups import Packet, examine_groups
from policy.remedies import find_remedies
from policy.spec import LOCAL, EndpointSpec, SecurityGroup, TargetNetwork
from tests.unit.policy.specs import (
    ENDPOINT,
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


def texts(spec: EndpointSpec, groups: set[str], destination: str) -> list[str]:
    return [remedy.text for remedy in find_remedies(spec, groups, Packet(ip(destination)))]


def test_what_passes_needs_no_remedy() -> None:
    assert texts(ENDPOINT, {"engineering"}, "10.20.0.9") == []


def test_what_is_never_forwarded_has_no_remedy() -> None:
    assert texts(ENDPOINT, {"engineering"}, "224.0.0.1") == []


def test_a_client_without_the_group_may_join_it_or_get_a_rule() -> None:
    assert texts(ENDPOINT, set(), "10.20.0.9") == [
        'give the client the group "engineering"',
        "add an authorization rule for 10.20.0.0/24 and everyone",
    ]
    assert texts(ENDPOINT, {"ops", "sales"}, "10.20.0.9")[1] == (
        'add an authorization rule for 10.20.0.0/24 and one of the client\'s groups "ops", "sales"'
    )


def test_narrow_rules_may_go_where_a_wider_one_would_let_the_client_pass() -> None:
    spec = endpoint(
        authorization_rules=(
            rule("0.0.0.0/0"),
            rule("10.20.0.0/16", "ops"),
            rule("10.20.0.0/24", "engineering"),
        )
    )
    assert texts(spec, {"sales"}, "10.20.0.9")[-1] == (
        "remove the rules for 10.20.0.0/24 and 10.20.0.0/16, so that 0.0.0.0/0 decides"
    )


def test_removal_is_not_offered_where_no_wider_rule_would_help() -> None:
    spec = endpoint(authorization_rules=(rule("10.20.0.0/16", "ops"), rule("10.20.0.0/24", "engineering")))
    assert not any("remove" in text for text in texts(spec, {"sales"}, "10.20.0.9"))


def test_a_missing_route_is_offered_to_the_target_network_around_the_address() -> None:
    spec = endpoint(routes=(), authorization_rules=(rule("10.20.0.0/24"),))
    assert texts(spec, set(), "10.20.0.9") == ['add a route to 10.20.0.0/24 with the target "office"']


def test_an_address_beyond_the_target_networks_is_offered_a_next_hop() -> None:
    spec = endpoint(authorization_rules=(rule("0.0.0.0/0"),))
    assert texts(spec, set(), "192.0.2.7") == ['add a route to 192.0.2.7/32 with the target "office"']


def test_an_address_that_nothing_leads_to_needs_a_target_network_first() -> None:
    flat = TargetNetwork("flat", "eth2", IPv4Network("10.30.0.0/24"))
    spec = endpoint(target_networks=(flat,), routes=(), authorization_rules=(rule("0.0.0.0/0"),))
    assert texts(spec, set(), "192.0.2.7") == ["declare a target network that leads to 192.0.2.7 and add a route to it"]


def test_route_and_rule_are_asked_for_together_where_both_are_missing() -> None:
    spec = endpoint(routes=(), authorization_rules=())
    assert texts(spec, set(), "10.80.0.9") == [
        (
            'add a route to 10.80.0.0/22 with the target "local", '
            "and add an authorization rule for 10.80.0.0/22 and everyone"
        ),
    ]


def test_a_default_route_does_not_suggest_a_rule_for_the_whole_internet() -> None:
    spec = endpoint(routes=(route("0.0.0.0/0"),), authorization_rules=())
    assert texts(spec, {"ops"}, "192.0.2.7") == ['add an authorization rule for 192.0.2.7/32 and the group "ops"']


def test_many_groups_are_counted_not_listed() -> None:
    spec = endpoint(authorization_rules=tuple(rule("10.20.0.0/24", f"g{i}") for i in range(7)))
    assert texts(spec, set(), "10.20.0.9")[0] == (
        'give the client one of the groups "g0", "g1", "g2", "g3", "g4" and 2 more'
    )


@pytest.mark.parametrize("local_rule", [None, "ops"])
def test_remedies_leave_the_spec_in_force_alone(local_rule: str | None) -> None:
    spec = endpoint(routes=(route("10.80.0.0/22", LOCAL),), authorization_rules=(rule("10.80.0.0/24", local_rule),))
    before = hash(spec)
    find_remedies(spec, set(), Packet(ip("10.80.3.9")))
    assert hash(spec) == before


@given(endpoints, group_sets, addresses)
def test_every_denied_destination_has_a_remedy_and_every_remedy_works(
    spec: EndpointSpec, groups: frozenset[str], address: IPv4Address
) -> None:
    for destination in (address, *edges(spec)[:6]):
        remedies = find_remedies(spec, groups, Packet(destination))
        curable = unroutable(destination) is None and not decide(spec, groups, destination).allowed
        assert bool(remedies) == curable
        for remedy in remedies:
            assert compile_access(remedy.spec, remedy.groups).verdict(destination.packed).allowed


WEB, NAMES = group(allow("tcp", (443, 443))), group(allow("udp", (53, 53)), name="names")

GROUP_REMEDIES = [
    ((WEB,), Packet(ip("10.20.0.9"), 22, "tcp"), 'let the security group "web" allow tcp port 22 to 10.20.0.9/32'),
    ((WEB,), Packet(ip("10.20.0.9"), 22), 'let the security group "web" allow tcp port 22 to 10.20.0.9/32'),
    ((WEB,), Packet(ip("10.20.0.9"), 8, "icmp"), 'let the security group "web" allow icmp type 8 to 10.20.0.9/32'),
    ((WEB,), Packet(ip("10.20.0.9"), None, "47"), 'let the security group "web" allow protocol 47 to 10.20.0.9/32'),
    ((WEB, NAMES), Packet(ip("10.20.0.9"), 22, "tcp"), 'let one of the security groups "web", "names" allow tcp'),
    ((), Packet(ip("10.20.0.9")), 'give the target network "office" a security group that lets all traffic to'),
]


@pytest.mark.parametrize(("security_groups", "packet", "text"), GROUP_REMEDIES)
def test_a_refusal_by_security_groups_is_put_right_by_a_rule_in_one(
    security_groups: tuple[SecurityGroup, ...], packet: Packet, text: str
) -> None:
    (remedy,) = find_remedies(filtered(*security_groups), set(), packet)
    assert remedy.text.startswith(text)
    finding = examine_groups(remedy.spec.target_networks[0], packet)
    assert finding is not None
    assert finding.allowed


def test_rules_of_both_kinds_are_named_where_both_are_missing() -> None:
    packet = Packet(ip("10.20.0.9"), 22, "tcp")
    spec = filtered(WEB)
    found = find_remedies(endpoint(target_networks=spec.target_networks), {"sales"}, packet)
    of_group = 'let the security group "web" allow tcp port 22 to 10.20.0.9/32 by an egress rule'
    assert [remedy.text for remedy in found] == [
        f'give the client the group "engineering", and {of_group}',
        f'add an authorization rule for 10.20.0.0/24 and the group "sales", and {of_group}',
    ]


def test_what_security_groups_let_pass_needs_no_remedy() -> None:
    assert find_remedies(filtered(WEB), set(), Packet(ip("10.20.0.9"), 443, "tcp")) == ()
    assert find_remedies(filtered(WEB), set(), Packet(ip("10.20.0.9"))) == ()
