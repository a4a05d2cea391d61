"""What can be wrong with the security groups of a target network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from policy.problems import Problem, error, warning
from policy.security_groups import ALL_PROTOCOLS, ANY, PROTOCOL_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy.spec import SecurityGroupRule, TargetNetwork

__all__ = ["MAX_GROUP_RULES", "check_security_groups", "group_rule_problems"]

_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}")
_LARGEST_PORT = 65_535
_LARGEST_ICMP = 255

MAX_GROUP_RULES = 10_000
"""Of one target network, more than thirty times AWS's quota; the kernel takes them in under a second."""


def check_security_groups(path: str, target: TargetNetwork) -> Iterator[Problem]:
    """All problems of this kind; `path` is that of the target network's groups."""
    if target.security_groups is None:
        return
    if not any(group.egress for group in target.security_groups):
        yield warning(
            path,
            f'No security group lets anything pass to "{target.name}", so nobody gets there. Add an egress rule.',
        )
    count = sum(len(group.egress) + len(group.ingress) for group in target.security_groups)
    if count > MAX_GROUP_RULES:
        yield error(path, f"{count} rules of security groups are too many; the limit is {MAX_GROUP_RULES}.")
        return
    for index, group in enumerate(target.security_groups):
        for direction, rules in (("egress", group.egress), ("ingress", group.ingress)):
            for position, rule in enumerate(rules):
                yield from _check_rule(f"{path}[{index}].{direction}[{position}]", rule)


def group_rule_problems(rule: SecurityGroupRule) -> tuple[str, ...]:
    """What is wrong with a single rule, as sentences."""
    return tuple(problem.text for problem in _check_rule("", rule))


def _check_rule(path: str, rule: SecurityGroupRule) -> Iterator[Problem]:
    if not _is_protocol(rule.protocol):
        known = ", ".join(sorted(PROTOCOL_NUMBERS))
        yield error(
            f"{path}.protocol",
            f'There is no protocol "{rule.protocol}". Use {known}, a number from 0 to 255, or {ALL_PROTOCOLS} for all.',
        )
    elif rule.protocol == "icmp":
        yield from _check_icmp(path, rule)
    elif rule.protocol in PROTOCOL_NUMBERS:
        yield from _check_ports(path, rule)


def _is_protocol(text: str) -> bool:
    """A protocol with a name goes by its name, so that equal rules are equal values."""
    if text in PROTOCOL_NUMBERS or text == ALL_PROTOCOLS:
        return True
    return _NUMBER.fullmatch(text) is not None and int(text) <= 255 and int(text) not in PROTOCOL_NUMBERS.values()


def _check_ports(path: str, rule: SecurityGroupRule) -> Iterator[Problem]:
    if (rule.from_port, rule.to_port) == (ANY, ANY):
        return
    if not 0 <= rule.from_port <= rule.to_port <= _LARGEST_PORT:
        yield error(
            f"{path}.from_port",
            f"{rule.from_port} to {rule.to_port} is no range of ports. Use two ports from 0 to {_LARGEST_PORT} in "
            f"ascending order, or {ANY} twice for all.",
        )


def _check_icmp(path: str, rule: SecurityGroupRule) -> Iterator[Problem]:
    if not (ANY <= rule.from_port <= _LARGEST_ICMP and ANY <= rule.to_port <= _LARGEST_ICMP):
        yield error(
            f"{path}.from_port",
            f"{rule.from_port} and {rule.to_port} are no type and code of ICMP. "
            f"Use numbers from 0 to {_LARGEST_ICMP}, or {ANY} for any.",
        )
    elif rule.from_port == ANY and rule.to_port != ANY:
        yield error(
            f"{path}.to_port", f"A code of every ICMP type is no rule. Name the type, or use {ANY} for any code."
        )
