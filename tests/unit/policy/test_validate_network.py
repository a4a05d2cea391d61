from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from policy.problems import Problem, Severity
from policy.spec import LOCAL, CertificateAuthentication, TargetNetwork
from policy.validate_network import MAX_PUSHED_ROUTES, MAX_ROUTES, MAX_RULES, check_network
from tests.unit.policy.specs import ENDPOINT, OFFICE, allow, endpoint, filtered, group, ip, route, rule

FLAT = TargetNetwork("flat", "eth2", IPv4Network("10.30.0.0/24"))
OFFICE_ROUTE, OFFICE_RULE = ENDPOINT.routes[0], ENDPOINT.authorization_rules[0]
EVERYWHERE = rule("0.0.0.0/0", "ops")


def problems(**changes: object) -> list[Problem]:
    return list(check_network("endpoint[0]", endpoint(**changes)))


def test_the_small_valid_endpoint_has_no_problem() -> None:
    assert problems() == []


def test_a_full_endpoint_has_no_problem() -> None:
    routes = (OFFICE_ROUTE, route("0.0.0.0/0"), route("10.80.0.0/22", LOCAL), route("10.30.0.0/25", "flat"))
    assert problems(target_networks=(OFFICE, FLAT), routes=routes, authorization_rules=(EVERYWHERE,)) == []


ERRORS: list[tuple[dict[str, object], str, str]] = [
    ({"client_cidr_block": IPv4Network("10.80.0.0/30")}, "client_cidr_block", "too small. Use /29 (5 clients)"),
    ({"client_cidr_block": IPv4Network("172.16.0.0/11", strict=False)}, "client_cidr_block", "Use /12 or smaller."),
    ({"client_cidr_block": IPv4Network("127.0.0.0/24")}, "client_cidr_block", "nobody may have"),
    ({"target_networks": (OFFICE, replace(FLAT, name="office"))}, "target_network[1].name", "Another target network"),
    ({"target_networks": (OFFICE, replace(FLAT, name=LOCAL))}, "target_network[1].name", "Choose another name."),
    (
        {"target_networks": (OFFICE, replace(FLAT, cidr=IPv4Network("10.80.2.0/24")))},
        "target_network[1].cidr",
        "10.80.2.0/24 overlaps the client range 10.80.0.0/22.",
    ),
    (
        {"target_networks": (OFFICE, replace(FLAT, cidr=IPv4Network("10.0.0.0/8")))},
        "target_network[1].cidr",
        "10.0.0.0/8 overlaps the client range",
    ),
    (
        {"target_networks": (replace(OFFICE, gateway=ip("10.20.1.1")),)},
        "target_network[0].gateway",
        "10.20.1.1 is not in 10.20.0.0/24.",
    ),
    ({"target_networks": (replace(OFFICE, gateway=ip("10.20.0.0")),)}, "target_network[0].gateway", "Name a host."),
    ({"target_networks": (replace(OFFICE, gateway=ip("10.20.0.255")),)}, "target_network[0].gateway", "broadcast"),
    ({"routes": (OFFICE_ROUTE, OFFICE_ROUTE)}, "route[1].destination", "Another route leads to 10.20.0.0/24 already."),
    ({"routes": (route("10.20.0.0/24", "offcie"),)}, "route[0].target", 'Did you mean "office"?'),
    ({"routes": (route("10.20.0.0/24", "zzz"),)}, "route[0].target", "Use one of: office, local."),
    ({"routes": (route("10.20.0.0/28", LOCAL),)}, "route[0].destination", "is not in the client range 10.80.0.0/22."),
    (
        {"routes": (route("10.80.0.0/24"),), "authorization_rules": (EVERYWHERE,)},
        "route[0].destination",
        "10.80.0.0/24 overlaps the client range 10.80.0.0/22.",
    ),
    (
        {"routes": (route("10.0.0.0/8"),), "authorization_rules": (EVERYWHERE,)},
        "route[0].destination",
        "10.0.0.0/8 overlaps the client range 10.80.0.0/22.",
    ),
    (
        {"routes": (route("239.1.0.0/16"),), "authorization_rules": (EVERYWHERE,)},
        "route[0].destination",
        "239.1.0.0/16 is in 224.0.0.0/4, which is never forwarded.",
    ),
    (
        {
            "target_networks": (FLAT,),
            "routes": (route("10.31.0.0/24", "flat"),),
            "authorization_rules": (EVERYWHERE,),
        },
        "route[0].destination",
        '10.31.0.0/24 is beyond 10.30.0.0/24 of the target network "flat", which has no gateway.',
    ),
    (
        {"target_networks": (FLAT,), "routes": (route("0.0.0.0/0", "flat"),), "authorization_rules": (EVERYWHERE,)},
        "route[0].destination",
        "which has no gateway",
    ),
    ({"authorization_rules": (OFFICE_RULE, OFFICE_RULE)}, "authorization_rule[1]", "An equal rule for 10.20.0.0/24"),
    ({"authorization_rules": (rule("10.20.0.0/24", ""),)}, "authorization_rule[0].group", "The group has no name."),
]


@pytest.mark.parametrize(("changes", "key", "text"), ERRORS, ids=[f"{key}-{i}" for i, (_, key, _) in enumerate(ERRORS)])
def test_what_cannot_work_is_one_error_at_its_key(changes: dict[str, object], key: str, text: str) -> None:
    found = [problem for problem in problems(**changes) if problem.severity is Severity.ERROR]
    assert [problem.key_path for problem in found] == [f"endpoint[0].{key}"]
    assert text in found[0].text


WARNINGS: list[tuple[dict[str, object], str, str]] = [
    (
        {"routes": (route("0.0.0.0/0"),), "authorization_rules": (EVERYWHERE, rule("10.80.0.0/22"))},
        "authorization_rule[1].destination",
        "No route leads to 10.80.0.0/22",
    ),
    ({"client_cidr_block": IPv4Network("8.8.0.0/22")}, "client_cidr_block", "belongs to others on the internet"),
    ({"authorization_rules": ()}, "route[0].destination", "No authorization rule covers any of 10.20.0.0/24"),
    ({"authorization_rules": (OFFICE_RULE, rule("10.21.0.0/16"))}, "authorization_rule[1].destination", "No route"),
    (
        {"authorization_rules": (OFFICE_RULE, rule("10.20.0.0/24"))},
        "authorization_rule[0].group",
        "authorises everyone",
    ),
    (
        {"authentication": CertificateAuthentication(b"ca")},
        "authorization_rule[0].group",
        "Set authentication.groups_from.",
    ),
    ({"dns_servers": (ip("10.21.0.53"),)}, "dns_servers[0]", "because no route covers it"),
    (
        {"dns_servers": (ip("10.20.0.53"),), "authorization_rules": (rule("10.20.0.0/32"),)},
        "dns_servers[0]",
        "because no authorization rule covers it",
    ),
    ({"dns_servers": (ip("9.9.9.9"),), "split_tunnel": False}, "dns_servers[0]", "because no route covers it"),
]


@pytest.mark.parametrize(
    ("changes", "key", "text"), WARNINGS, ids=[f"{key}-{i}" for i, (_, key, _) in enumerate(WARNINGS)]
)
def test_what_has_no_effect_is_one_warning_at_its_key(changes: dict[str, object], key: str, text: str) -> None:
    found = problems(**changes)
    assert [(problem.key_path, problem.severity) for problem in found] == [(f"endpoint[0].{key}", Severity.WARNING)]
    assert text in found[0].text


def test_with_split_tunnel_public_dns_servers_are_asked_directly() -> None:
    assert problems(dns_servers=(ip("9.9.9.9"),)) == []


def test_the_default_route_overlaps_nothing() -> None:
    internet = TargetNetwork("internet", "wan0", IPv4Network("0.0.0.0/0"))
    assert (
        problems(
            target_networks=(internet,),
            routes=(route("0.0.0.0/0", "internet"),),
            authorization_rules=(EVERYWHERE,),
        )
        == []
    )


@pytest.mark.parametrize("bits", [12, 22, 29])
def test_ranges_from_12_to_29_bits_are_taken(bits: int) -> None:
    assert problems(client_cidr_block=IPv4Network((0x0A500000, bits))) == []


def test_a_next_hop_on_a_point_to_point_network_may_be_either_address() -> None:
    link = TargetNetwork("link", "ppp0", IPv4Network("10.30.0.0/31"), gateway=ip("10.30.0.0"))
    assert problems(target_networks=(OFFICE, link)) == []


def test_too_many_routes_and_rules_are_refused() -> None:
    hosts = [str(host) for host in IPv4Network("172.16.0.0/16").subnets(new_prefix=32)]
    routes = tuple(route(host) for host in hosts[: MAX_ROUTES + 1])
    rules = tuple(rule(host, "ops") for host in hosts[: MAX_RULES + 1])
    found = {
        problem.key_path: problem.text
        for problem in problems(routes=routes, authorization_rules=rules)
        if problem.severity is Severity.ERROR
    }
    assert found == {
        "endpoint[0].route": "1001 routes are too many; the limit is 1000.",
        "endpoint[0].authorization_rule": "10001 rules are too many; the limit is 10000.",
    }


def test_many_pushed_routes_draw_a_warning_only_with_split_tunnel() -> None:
    hosts = [str(host) for host in IPv4Network("172.16.0.0/16").subnets(new_prefix=32)]
    changes = {
        "routes": tuple(route(host) for host in hosts[: MAX_PUSHED_ROUTES + 1]),
        "authorization_rules": (EVERYWHERE,),
    }
    (problem,) = problems(**changes)
    assert "251 routes are pushed to each client" in problem.text
    assert problems(**changes, split_tunnel=False) == []


def test_the_groups_of_a_target_network_are_looked_at() -> None:
    (found,) = check_network("endpoint[0]", filtered(group(allow("gre"))))
    assert found.key_path == "endpoint[0].target_network[0].security_groups[0].egress[0].protocol"
