from __future__ import annotations

from dataclasses import replace
from textwrap import dedent
from typing import TYPE_CHECKING

from hypothesis import given

from policy.explain import explain
from policy.explain_text import render_explanation, verdict_sentence
from policy.spec import LOCAL, EndpointSpec
from tests.unit.policy.specs import ENDPOINT, OFFICE, addresses, endpoint, endpoints, group_sets, ip, route, rule

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
