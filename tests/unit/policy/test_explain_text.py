from __future__ import annotations

from dataclasses import replace
from textwrap import dedent
from typing import TYPE_CHECKING

from hypothesis import given

from policy.explain import explain
from policy.explain_text import render_explanation, verdict_sentence
from policy.spec import LOCAL, EndpointSpec
from tests.unit.policy.specs import (
    ENDPOINT,
    OFFICE,
    addresses,
    allow,
    endpoint,
    endpoints,
    filtered,
    group,
    group_sets,
    ip,
    route,
    rule,
)

if TYPE_CHECKING:
    from ipaddress import IPv4Address


def rendered(text: str) -> str:
    return dedent(text).strip("\n")


def test_an_allowed_packet_shows_route_rule_and_group() -> None:
    explanation = explain(ENDPOINT, {"sales", "engineering"}, ip("10.20.0.9"), 443, "tcp", source=ip("10.80.0.2"))
    assert render_explanation(explanation) == rendered(
        """
        10.20.0.9:443/tcp is allowed: the rule for 10.20.0.0/24 authorises the group "engineering".
          endpoint main
          source   10.80.0.2
          groups   engineering, sales
          route    10.20.0.0/24 to office, by interface eth1
          rule     10.20.0.0/24 for the group "engineering", which the client is in
          note     rules hold for every protocol and port
          note     office sees the gateway's own address as the source
        """
    )


def test_a_denied_packet_shows_what_is_ignored_and_what_would_help() -> None:
    spec = endpoint(authorization_rules=(rule("10.20.0.0/24", "engineering"), rule("0.0.0.0/0")))
    assert render_explanation(explain(spec, set(), ip("10.20.0.9"))) == rendered(
        """
        10.20.0.9 is denied: the rules for 10.20.0.0/24 authorise none of the client's groups.
          endpoint main
          groups   none
          route    10.20.0.0/24 to office, by interface eth1
          rule     10.20.0.0/24 for the group "engineering"
          ignored  0.0.0.0/0 for everyone, because 10.20.0.0/24 is longer and decides alone
        What would let it pass:
          - Give the client the group "engineering".
          - Add an authorization rule for 10.20.0.0/24 and everyone.
          - Remove the rules for 10.20.0.0/24, so that 0.0.0.0/0 decides.
        """
    )


def test_between_clients_the_text_says_that_only_local_routes_count() -> None:
    spec = endpoint(routes=(route("0.0.0.0/0"),), authorization_rules=())
    text = render_explanation(explain(spec, set(), ip("10.80.0.9")))
    assert text.startswith("10.80.0.9 is denied: no route leads there.\n")
    assert '  route    none; between clients only a route to "local" counts\n' in text
    assert "  rule     none\n" in text


def test_a_local_route_leads_to_the_other_clients() -> None:
    spec = endpoint(routes=(route("10.80.0.0/22", LOCAL),), authorization_rules=(rule("10.80.0.0/22"),))
    text = render_explanation(explain(spec, set(), ip("10.80.0.9")))
    assert text.startswith("10.80.0.9 is allowed: the rule for 10.80.0.0/22 authorises everyone.\n")
    assert "  route    10.80.0.0/22 to the other clients\n" in text


def test_without_nat_the_way_back_is_mentioned() -> None:
    spec = endpoint(target_networks=(replace(OFFICE, nat=False),))
    text = render_explanation(explain(spec, {"engineering"}, ip("10.20.0.9")))
    assert "  note     office sees the client's address, and must route 10.80.0.0/22 back" in text


def test_each_cause_has_its_sentence() -> None:
    bare = endpoint(authorization_rules=())
    assert verdict_sentence(explain(bare, set(), ip("10.20.0.9"))) == (
        "10.20.0.9 is denied: no authorization rule covers it."
    )
    assert verdict_sentence(explain(bare, set(), ip("239.0.0.1"))) == (
        "239.0.0.1 is denied: 224.0.0.0/4 is never forwarded."
    )
    assert verdict_sentence(explain(ENDPOINT, {"engineering"}, ip("10.20.0.9"), source=ip("192.0.2.1"))) == (
        "10.20.0.9 is denied: 192.0.2.1 is no address of a client of this endpoint."
    )


@given(endpoints, group_sets, addresses)
def test_every_explanation_can_be_rendered(spec: EndpointSpec, groups: frozenset[str], address: IPv4Address) -> None:
    explanation = explain(spec, groups, address)
    first, *rest = render_explanation(explanation).splitlines()
    assert first.startswith(f"{address} is {'allowed' if explanation.allowed else 'denied'}: ")
    assert len(rest) >= 4


WEB = group(allow("tcp", (443, 443)), allow("tcp", (80, 80), "10.20.0.0/25"))


def security_lines(spec: EndpointSpec, port: int | None = None, protocol: str | None = None) -> list[str]:
    lines = render_explanation(explain(spec, set(), ip("10.20.0.9"), port, protocol)).splitlines()
    return [line.strip() for line in lines if line.startswith("  security")]


def test_a_packet_that_security_groups_refuse_shows_what_they_allow_and_what_would_help() -> None:
    explanation = explain(filtered(WEB, group(name="names")), set(), ip("10.20.0.9"), 22, "tcp")
    assert render_explanation(explanation) == rendered(
        """
        10.20.0.9:22/tcp is denied: no security group of office lets it pass.
          endpoint main
          groups   none
          route    10.20.0.0/24 to office, by interface eth1
          rule     10.20.0.0/24 for everyone
          security web (sg-web) allows only tcp port 443, tcp port 80 to 10.20.0.0/25
          security names (sg-names) allows nothing of it
        What would let it pass:
          - Let one of the security groups "web", "names" allow tcp port 22 to 10.20.0.9/32 by an egress rule.
        """
    )


def test_the_security_group_that_lets_a_packet_pass_is_named_with_its_rule() -> None:
    assert security_lines(filtered(group(name="names"), WEB), 443, "tcp") == [
        "security web (sg-web) allows tcp port 443"
    ]
    assert "rules hold for every protocol" not in render_explanation(explain(filtered(WEB), set(), ip("10.20.0.9"), 80))


def test_without_a_port_it_is_said_what_passes() -> None:
    assert security_lines(filtered(WEB)) == [
        "security web (sg-web) allows only tcp port 443, tcp port 80 to 10.20.0.0/25"
    ]

    sentence = verdict_sentence(explain(filtered(WEB), set(), ip("10.20.0.9")))
    assert sentence.endswith("the rule for 10.20.0.0/24 authorises everyone, and security groups let some of it pass.")


def test_of_many_rules_the_first_are_shown() -> None:
    many = group(*(allow("tcp", (port, port)) for port in range(7)))
    assert security_lines(filtered(many)) == [
        "security web (sg-web) allows only tcp port 0, tcp port 1, tcp port 2, tcp port 3, tcp port 4 and 2 more"
    ]


def test_no_group_at_all_is_said_to_let_nothing_pass() -> None:
    assert security_lines(filtered()) == ["security no group, so nothing passes"]
