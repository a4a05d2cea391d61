from __future__ import annotations

from bisect import bisect_right
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given

from policy.access import AccessTable, Verdict, compile_access, decide, deciding_rules
from policy.spec import LOCAL, EndpointSpec
from tests.unit.policy.specs import ENDPOINT, addresses, edges, endpoint, endpoints, group_sets, ip, route, rule
from tunnel.plane import Verdict as PlaneVerdict

# The service's documented scenarios. Groups E(ngineering), D(evelopment), M(anagers), X stands for any other.
RULES = {
    "A": rule("172.16.0.0/24", "E"),
    "B": rule("10.0.0.0/16", "D"),
    "C": rule("192.168.0.0/24", "M"),
    "F": rule("0.0.0.0/0", "M"),
    "G": rule("10.0.2.119/32", "M"),
    "H": rule("172.16.0.128/25", "E"),
    "J": rule("0.0.0.0/0", "E"),
    "K": rule("0.0.0.0/0"),
}
DESTINATIONS = ("172.16.0.5", "172.16.0.200", "10.0.1.1", "10.0.2.119", "192.168.0.9", "203.0.113.7")
WHO_MAY = {
    "ABC": ("E", "E", "D", "D", "M", ""),
    "ABF": ("E", "E", "D", "D", "M", "M"),
    "ABFG": ("E", "E", "D", "M", "M", "M"),
    "ABFGH": ("E", "E", "D", "M", "M", "M"),
    "ABFGHJ": ("E", "E", "D", "M", "EM", "EM"),
    "ABFGHJC": ("E", "E", "D", "M", "M", "EM"),
    "ABFGHJCK": ("E", "E", "D", "M", "M", "EDMX"),
}
CASES = [
    pytest.param(rules, destination, group, group in who, id=f"{rules}-{destination}-{group}")
    for rules, row in WHO_MAY.items()
    for destination, who in zip(DESTINATIONS, row, strict=True)
    for group in "EDMX"
]


def compiled(spec: EndpointSpec, groups: frozenset[str], address: IPv4Address) -> Verdict:
    return compile_access(spec, groups).verdict(address.packed)


@pytest.mark.parametrize(("rules", "destination", "group", "may_pass"), CASES)
def test_the_documented_scenarios_hold(rules: str, destination: str, group: str, may_pass: bool) -> None:
    spec = endpoint(routes=(route("0.0.0.0/0"),), authorization_rules=tuple(RULES[name] for name in rules))
    expected = Verdict.FORWARD if may_pass else Verdict.NO_RULE
    assert decide(spec, frozenset({group}), ip(destination)) is expected
    assert compiled(spec, frozenset({group}), ip(destination)) is expected


@pytest.mark.parametrize("rules", WHO_MAY)
def test_the_order_of_rules_means_nothing(rules: str) -> None:
    spec = endpoint(routes=(route("0.0.0.0/0"),), authorization_rules=tuple(RULES[name] for name in rules))
    reverse = endpoint(routes=(route("0.0.0.0/0"),), authorization_rules=tuple(RULES[name] for name in rules[::-1]))
    for group in "EDMX":
        assert compile_access(spec, frozenset(group)) == compile_access(reverse, frozenset(group))


def test_the_data_plane_counts_verdicts_in_the_same_numbers() -> None:
    assert {verdict.name: int(verdict) for verdict in Verdict} == {v.name: int(v) for v in PlaneVerdict}


def test_without_routes_and_rules_nothing_passes() -> None:
    table = compile_access(endpoint(routes=(), authorization_rules=()), frozenset({"engineering"}))
    assert table == AccessTable((bytes(4),), bytes([Verdict.NO_ROUTE]))


@pytest.mark.parametrize(
    ("routes", "rules", "verdict"),
    [
        ((), (rule("10.20.0.0/24"),), Verdict.NO_ROUTE),
        ((route("10.20.0.0/24"),), (), Verdict.NO_RULE),
        ((route("10.20.0.0/24"),), (rule("10.20.0.0/24"),), Verdict.FORWARD),
    ],
)
def test_both_a_route_and_a_rule_are_needed(routes: tuple, rules: tuple, verdict: Verdict) -> None:  # type: ignore[type-arg]
    spec = endpoint(routes=routes, authorization_rules=rules)
    assert decide(spec, frozenset(), ip("10.20.0.9")) is verdict
    assert compiled(spec, frozenset(), ip("10.20.0.9")) is verdict


def test_groups_are_compared_exactly() -> None:
    assert decide(ENDPOINT, {"engineering"}, ip("10.20.0.9")) is Verdict.FORWARD
    for other in ({"Engineering"}, {"engineering "}, {"engineer"}, set[str]()):
        assert decide(ENDPOINT, other, ip("10.20.0.9")) is Verdict.NO_RULE


def test_a_client_with_several_groups_passes_by_any_of_them() -> None:
    assert decide(ENDPOINT, {"sales", "engineering"}, ip("10.20.0.9")) is Verdict.FORWARD


def test_a_default_route_does_not_lead_from_client_to_client() -> None:
    spec = endpoint(routes=(route("0.0.0.0/0"),), authorization_rules=(rule("0.0.0.0/0"),))
    assert compiled(spec, frozenset(), ip("10.80.0.7")) is Verdict.NO_ROUTE
    assert compiled(spec, frozenset(), ip("10.80.4.0")) is Verdict.FORWARD


def test_client_to_client_needs_a_local_route_and_a_rule() -> None:
    routes = (route("10.20.0.0/24"), route("10.80.0.0/22", LOCAL))
    without_rule = endpoint(routes=routes)
    with_rule = endpoint(routes=routes, authorization_rules=(rule("10.80.0.0/22", "sales"),))
    assert compiled(without_rule, frozenset({"sales"}), ip("10.80.0.7")) is Verdict.NO_RULE
    assert compiled(with_rule, frozenset({"sales"}), ip("10.80.0.7")) is Verdict.LOCAL
    assert compiled(with_rule, frozenset(), ip("10.80.0.7")) is Verdict.NO_RULE


def test_a_local_route_leads_nowhere_outside_the_client_range() -> None:
    spec = endpoint(routes=(route("10.0.0.0/8", LOCAL),), authorization_rules=(rule("0.0.0.0/0"),))
    assert compiled(spec, frozenset(), ip("10.80.0.7")) is Verdict.LOCAL
    assert compiled(spec, frozenset(), ip("10.81.0.7")) is Verdict.NO_ROUTE


@pytest.mark.parametrize("destination", ["0.0.0.0", "127.0.0.1", "224.0.0.251", "239.1.2.3", "255.255.255.255"])
def test_what_no_router_forwards_has_no_route(destination: str) -> None:
    routes = (route("0.0.0.0/0"), route(f"{destination}/32"))
    spec = endpoint(routes=routes, authorization_rules=(rule("0.0.0.0/0"),))
    assert decide(spec, frozenset(), ip(destination)) is Verdict.NO_ROUTE
    assert compiled(spec, frozenset(), ip(destination)) is Verdict.NO_ROUTE


def test_all_rules_at_the_longest_prefix_decide_and_no_others() -> None:
    narrow = (rule("10.20.0.0/25", "sales"), rule("10.20.0.0/25", "ops"))
    spec = endpoint(authorization_rules=(rule("10.20.0.0/24"), *narrow))
    assert deciding_rules(spec, ip("10.20.0.9")) == narrow
    assert deciding_rules(spec, ip("10.20.0.200")) == (rule("10.20.0.0/24"),)
    assert deciding_rules(spec, ip("10.21.0.1")) == ()


def test_equal_rights_make_equal_tables() -> None:
    halves = endpoint(
        routes=(route("10.20.0.0/25"), route("10.20.0.128/25")), authorization_rules=(rule("10.20.0.0/24"),)
    )
    whole = endpoint(authorization_rules=(rule("10.20.0.0/24"),))
    assert compile_access(halves, frozenset()) == compile_access(whole, frozenset())


@given(endpoints, group_sets, addresses)
def test_the_compiled_verdict_is_the_plain_one(
    spec: EndpointSpec, groups: frozenset[str], address: IPv4Address
) -> None:
    table = compile_access(spec, groups)
    for destination in (address, *edges(spec)):
        assert table.verdict(destination.packed) is decide(spec, groups, destination)


@given(endpoints, group_sets)
def test_tables_are_well_formed(spec: EndpointSpec, groups: frozenset[str]) -> None:
    table = compile_access(spec, groups)
    assert table.starts[0] == bytes(4)
    assert list(table.starts) == sorted(set(table.starts))
    assert len(table.starts) == len(table.verdicts)
    assert all(left != right for left, right in zip(table.verdicts, table.verdicts[1:], strict=False))
    assert all(
        table.verdicts[bisect_right(table.starts, s) - 1] == v
        for s, v in zip(table.starts, table.verdicts, strict=True)
    )


def test_a_thousand_rules_compile_to_a_table_of_their_edges() -> None:
    subnets = tuple(IPv4Network("172.16.0.0/12").subnets(new_prefix=24))[:2000:2]
    spec = endpoint(
        routes=(route("172.16.0.0/12"),),
        authorization_rules=tuple(rule(str(subnet), f"group-{i}") for i, subnet in enumerate(subnets)),
    )
    everyone = compile_access(spec, frozenset(f"group-{i}" for i in range(1000)))
    assert everyone.verdicts.count(Verdict.FORWARD) == 1000
    assert len(everyone.starts) == 2 * 1000 + 2
    assert compile_access(spec, frozenset({"group-7"})).verdicts.count(Verdict.FORWARD) == 1
