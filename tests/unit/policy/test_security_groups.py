from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.security_groups import (
    allows_everything,
    describe_traffic,
    has_ports,
    is_same_protocol,
    may_permit,
    permits,
    rules_toward,
)
from tests.unit.policy.specs import allow, group, ip

if TYPE_CHECKING:
    from policy.spec import SecurityGroupRule

PERMITS = [
    (allow(), "tcp", 1, None, True),
    (allow(), "47", None, None, True),
    (allow("tcp"), "tcp", 1, None, True),
    (allow("tcp"), "tcp", None, None, True),
    (allow("tcp"), "6", 1, None, True),
    (allow("tcp"), "udp", 1, None, False),
    (allow("tcp", (80, 443)), "tcp", 79, None, False),
    (allow("tcp", (80, 443)), "tcp", 80, None, True),
    (allow("tcp", (80, 443)), "tcp", 443, None, True),
    (allow("tcp", (80, 443)), "tcp", 444, None, False),
    (allow("tcp", (80, 443)), "tcp", None, None, False),
    (allow("tcp", (0, 65535)), "tcp", None, None, True),
    (allow("icmp"), "icmp", 8, 0, True),
    (allow("icmp", (8, -1)), "icmp", 8, 0, True),
    (allow("icmp", (8, -1)), "icmp", 8, None, True),
    (allow("icmp", (8, -1)), "icmp", 0, 0, False),
    (allow("icmp", (3, 4)), "icmp", 3, 4, True),
    (allow("icmp", (3, 4)), "icmp", 3, 3, False),
    (allow("icmp", (3, 4)), "icmp", 3, None, False),
    (allow("47"), "47", None, None, True),
    (allow("47"), "50", None, None, False),
]


@pytest.mark.parametrize(("rule", "protocol", "port", "code", "expected"), PERMITS)
def test_a_rule_permits_what_lies_in_it_and_nothing_else(
    rule: SecurityGroupRule, protocol: str, port: int | None, code: int | None, expected: bool
) -> None:
    assert permits(rule, protocol, port, code) is expected


def test_what_is_left_open_may_be_permitted_where_some_of_it_is() -> None:
    web, ping = allow("tcp", (443, 443)), allow("icmp", (8, -1))
    assert may_permit(web, None, None)
    assert may_permit(web, "tcp", None)
    assert may_permit(web, None, 443)
    assert not may_permit(web, None, 80)
    assert not may_permit(web, "udp", None)
    assert may_permit(ping, None, None)
    assert not may_permit(ping, None, 8)
    assert may_permit(allow("tcp"), None, 80)
    assert may_permit(allow(), None, 80)


rules = st.sampled_from([rule for rule, *_ in PERMITS])


@given(rules, st.sampled_from(["tcp", "udp", "icmp", "47"]), st.integers(0, 65535))
def test_what_is_permitted_may_be_permitted(rule: SecurityGroupRule, protocol: str, port: int) -> None:
    assert may_permit(rule, protocol, port) or not permits(rule, protocol, port)
    assert may_permit(rule, protocol, None) or not permits(rule, protocol, port)
    assert may_permit(rule, None, None)


@pytest.mark.parametrize(
    ("rule", "everything"),
    [
        (allow(), True),
        (allow(other="0.0.0.0/1"), False),
        (allow("tcp"), False),
    ],
)
def test_only_a_rule_without_limits_allows_everything(rule: SecurityGroupRule, everything: bool) -> None:
    assert allows_everything([allow("udp"), rule]) is everything


def test_rules_toward_an_address_come_with_their_groups() -> None:
    web = group(allow("tcp", (443, 443), "10.20.0.0/24"), allow("tcp", (80, 80), "10.21.0.0/24"), name="web")
    ping = group(allow("icmp"), name="ping")
    assert list(rules_toward([web, ping], ip("10.20.0.9"))) == [(web, web.egress[0]), (ping, ping.egress[0])]


def test_a_protocol_is_the_same_by_name_and_by_number() -> None:
    assert is_same_protocol("tcp", "6")
    assert is_same_protocol("47", "47")
    assert not is_same_protocol("tcp", "17")


def test_every_port_is_no_part_of_a_protocol() -> None:
    assert not has_ports(allow("tcp"))
    assert not has_ports(allow("udp", (0, 65535)))
    assert not has_ports(replace(allow("47"), from_port=1, to_port=2))
    assert has_ports(allow("icmp", (0, -1)))
    assert has_ports(allow("tcp", (0, 65534)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (allow(), "all traffic"),
        (allow("tcp"), "all of tcp"),
        (allow("tcp", (443, 443)), "tcp port 443"),
        (allow("udp", (5000, 5010)), "udp ports 5000 to 5010"),
        (allow("icmp", (8, -1)), "icmp type 8"),
        (allow("icmp", (3, 4)), "icmp type 3 code 4"),
        (allow("47"), "protocol 47"),
    ],
)
def test_a_rule_says_what_it_lets_pass(rule: SecurityGroupRule, text: str) -> None:
    assert describe_traffic(rule) == text
