from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from policy.problems import Problem, Severity
from policy.validate_groups import MAX_GROUP_RULES, check_security_groups
from tests.unit.policy.specs import OFFICE, allow, group

if TYPE_CHECKING:
    from policy.spec import SecurityGroup, SecurityGroupRule


def problems(*groups: SecurityGroup) -> list[Problem]:
    return list(check_security_groups("groups", replace(OFFICE, security_groups=groups)))


GOOD = [
    allow(),
    allow("tcp"),
    allow("tcp", (0, 65535)),
    allow("udp", (53, 53), "10.20.0.53/32"),
    allow("icmp"),
    allow("icmp", (8, -1)),
    allow("icmp", (3, 4)),
    allow("47"),
    allow("0"),
]


@pytest.mark.parametrize("rule", GOOD, ids=lambda rule: f"{rule.protocol}-{rule.from_port}")
def test_what_the_host_can_filter_is_no_problem(rule: SecurityGroupRule) -> None:
    assert problems(group(rule, ingress=(rule,))) == []


BAD = [
    (allow("gre"), "egress[0].protocol", 'no protocol "gre"'),
    (allow("256"), "egress[0].protocol", 'no protocol "256"'),
    (allow("047"), "egress[0].protocol", 'no protocol "047"'),
    (allow("9" * 5000), "egress[0].protocol", "no protocol"),
    (allow("6"), "egress[0].protocol", 'no protocol "6"'),
    (allow(""), "egress[0].protocol", "no protocol"),
    (allow("tcp", (443, 80)), "egress[0].from_port", "443 to 80 is no range"),
    (allow("tcp", (-1, 80)), "egress[0].from_port", "-1 to 80 is no range"),
    (allow("udp", (0, 65536)), "egress[0].from_port", "no range of ports"),
    (allow("icmp", (256, -1)), "egress[0].from_port", "no type and code"),
    (allow("icmp", (-1, 4)), "egress[0].to_port", "Name the type"),
]


@pytest.mark.parametrize(("rule", "key", "text"), BAD, ids=[f"{key}-{i}" for i, (_, key, _) in enumerate(BAD)])
def test_what_the_host_cannot_filter_is_an_error_at_its_key(rule: SecurityGroupRule, key: str, text: str) -> None:
    (found,) = problems(group(rule))
    assert (found.key_path, found.severity) == (f"groups[0].{key}", Severity.ERROR)
    assert text in found.text


def test_an_ingress_rule_is_looked_at_as_well() -> None:
    (found,) = problems(group(allow()), group(allow(), ingress=(allow("tcp"), allow("gre"))))
    assert found.key_path == "groups[1].ingress[1].protocol"


@pytest.mark.parametrize("groups", [(), (group(),), (group(ingress=(allow(),)),)], ids=["none", "empty", "ingress"])
def test_groups_that_let_nobody_in_are_a_warning(groups: tuple[SecurityGroup, ...]) -> None:
    (found,) = problems(*groups)
    assert found.severity is Severity.WARNING
    assert "nobody gets there" in found.text


def test_more_rules_than_a_host_can_take_are_one_error() -> None:
    assert problems(group(*[allow("tcp")] * (MAX_GROUP_RULES - 1), ingress=(allow(),))) == []
    (found,) = problems(group(*[allow("gre")] * MAX_GROUP_RULES), group(ingress=(allow("gre"),)))
    assert (found.key_path, found.severity) == ("groups", Severity.ERROR)
    assert "too many" in found.text


def test_a_network_that_is_not_filtered_has_no_problem() -> None:
    assert list(check_security_groups("groups", OFFICE)) == []
