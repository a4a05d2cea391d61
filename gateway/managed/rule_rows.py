"""From the rows of rules to what they allow, also where one cannot be read.

Callers cannot write such a row; another hand in the database can, or a restore that was cut off. It fails by itself and
allows nothing. An authorization rule is more than an allowance, though, since it takes its destination away from wider
rules: as much of the destination as can be made out stays closed to everybody. A route says where, and not whether;
without one, the next wider one leads on, and the rules decide as before.
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import policy
from gateway.managed.snapshot import find_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.managed.snapshot import GroupRow, GroupRuleRow, ManagedEndpoint, RouteRow, RuleRow

__all__ = ["BY_HAND", "NOBODY", "authorization_rules", "build_security_group", "unreadable_rows"]

NOBODY = "\0 nobody: a rule that cannot be read"
"""A group that no client is in: names with control characters are refused."""
BY_HAND = "Correct the row in the database, or delete it."

_LIKE_A_NETWORK = re.compile(r"(?P<address>[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?:/[0-9.]+)?")


def unreadable_rows(endpoint: ManagedEndpoint) -> Iterator[tuple[RouteRow | RuleRow, str]]:
    """The routes and rules without a destination, each with a sentence."""
    rows: tuple[RouteRow | RuleRow, ...] = (*endpoint.routes, *endpoint.rules)
    for row in rows:
        if find_network(row.destination_cidr) is None:
            yield row, f"Its destination {row.destination_cidr!r} is no network. {BY_HAND}"


def authorization_rules(rows: Iterable[RuleRow]) -> tuple[policy.AuthorizationRule, ...]:
    """What authorises, and what keeps wider rules away from the destinations of those that cannot be read."""
    found: dict[tuple[IPv4Network, str | None], policy.AuthorizationRule] = {}
    for row in rows:
        destination = find_network(row.destination_cidr)
        if destination is not None:
            key = destination, row.group_id or None
            found.setdefault(key, policy.AuthorizationRule(*key, row.description))
        else:
            for network in _recognisable_networks(row.destination_cidr):
                found.setdefault((network, NOBODY), policy.AuthorizationRule(network, NOBODY))
    return tuple(found.values())


def build_security_group(
    group: GroupRow, members: Mapping[str, tuple[IPv4Network, ...]], note_failure: Callable[[GroupRuleRow, str], None]
) -> policy.SecurityGroup:
    """A group with its rules. Those that cannot be read are noted and missing: rules of groups only allow."""
    rules: dict[bool, list[policy.SecurityGroupRule]] = {True: [], False: []}
    for row in group.rules:
        try:
            rules[bool(row.is_egress)] += _group_rules(row, members)
        except (ValueError, TypeError) as error:
            note_failure(row, f"The rule {row.id} of the security group {group.id}: {error} {BY_HAND}")
    return policy.SecurityGroup(group.id, group.name, egress=tuple(rules[True]), ingress=tuple(rules[False]))


def _group_rules(row: GroupRuleRow, members: Mapping[str, tuple[IPv4Network, ...]]) -> list[policy.SecurityGroupRule]:
    """A rule, for each range of the other side. Raises `ValueError` with a sentence, or `TypeError`."""
    others: tuple[IPv4Network, ...] = members.get(row.referenced_group_id, ())
    if row.cidr:
        network = find_network(row.cidr)
        if network is None:
            raise ValueError(f"{row.cidr!r} is no network.")
        others = (network,)
    rules = [
        policy.SecurityGroupRule(row.id, row.protocol, row.from_port, row.to_port, other, row.description)
        for other in others
    ]
    problems = [problem for rule in rules[:1] for problem in policy.group_rule_problems(rule)]
    if problems:
        raise ValueError(" ".join(problems))
    return rules


def _recognisable_networks(text: str) -> Iterator[IPv4Network]:
    """What a destination that is no network may have been: the network around an address, and the address."""
    found = _LIKE_A_NETWORK.search(text)
    for candidate in (found[0], found["address"]) if found is not None else ():
        with suppress(ValueError):
            yield IPv4Network(candidate, strict=False)
