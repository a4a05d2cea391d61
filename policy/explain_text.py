"""An explanation as text for a terminal: the verdict in one line, its reasons below, then what would change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policy.access import Verdict
from policy.security_groups import describe_traffic
from policy.spec import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policy.explain import Explanation
    from policy.explain_groups import SecurityFinding
    from policy.spec import AuthorizationRule, SecurityGroup, SecurityGroupRule

__all__ = ["render_explanation", "verdict_sentence"]

_LABEL_WIDTH = 9
_RULES_SHOWN = 5
"""Of a security group, before the rest is only counted."""


def render_explanation(explanation: Explanation) -> str:
    """The whole explanation, lines separated by newlines, without one at the end."""
    lines = [verdict_sentence(explanation)]
    lines += [f"  {label:<{_LABEL_WIDTH}}{text}" for label, text in _reasons(explanation)]
    if explanation.remedies:
        lines += ["What would let it pass:", *(f"  - {_sentence(remedy.text)}" for remedy in explanation.remedies)]
    return "\n".join(lines)


def verdict_sentence(explanation: Explanation) -> str:
    """The verdict and its one decisive reason, in a line."""
    outcome = "allowed" if explanation.allowed else "denied"
    return f"{_destination(explanation)} is {outcome}: {_decisive_reason(explanation)}."


def _decisive_reason(explanation: Explanation) -> str:
    if explanation.is_spoofed:
        return f"{explanation.source} is no address of a client of this endpoint"
    if explanation.unroutable is not None:
        return f"{explanation.unroutable} is never forwarded"
    if explanation.verdict is Verdict.NO_ROUTE:
        return "no route leads there"
    if explanation.security is not None and not explanation.security.allowed:
        return f"no security group of {explanation.security.target.name} lets it pass"
    if explanation.granted_by:
        partly = explanation.security is not None and not explanation.security.wholly
        passing = ", and security groups let some of it pass" if partly else ""
        return f"the rule for {explanation.prefix} authorises {_grantee(explanation.granted_by[0])}{passing}"
    if explanation.prefix is not None:
        return f"the rules for {explanation.prefix} authorise none of the client's groups"
    return "no authorization rule covers it"


def _destination(explanation: Explanation) -> str:
    """`10.20.0.9`, with `:443/tcp` as far as that was asked."""
    port = "" if explanation.port is None else f":{explanation.port}"
    protocol = "" if explanation.protocol is None else f"/{explanation.protocol}"
    return f"{explanation.destination}{port}{protocol}"


def _reasons(explanation: Explanation) -> Iterator[tuple[str, str]]:
    yield "endpoint", explanation.endpoint
    if explanation.source is not None:
        yield "source", str(explanation.source)
    yield "groups", ", ".join(sorted(explanation.groups)) or "none"
    yield "route", _route(explanation)
    yield from _rules(explanation)
    for rule in explanation.shadowed:
        yield "ignored", f"{_rule(rule)}, because {explanation.prefix} is longer and decides alone"
    if explanation.security is not None:
        yield from _security(explanation.security)
    if explanation.allowed:
        yield from _notes(explanation)


def _route(explanation: Explanation) -> str:
    route = explanation.route
    if route is None:
        inside = explanation.destination in explanation.client_cidr_block
        return 'none; between clients only a route to "local" counts' if inside else "none"
    if route.target == LOCAL:
        return f"{route.destination} to the other clients"
    if explanation.target is None:
        return f"{route.destination} to {route.target}"
    return f"{route.destination} to {route.target}, by interface {explanation.target.interface}"


def _rules(explanation: Explanation) -> Iterator[tuple[str, str]]:
    if not explanation.rules:
        yield "rule", "none"
    for rule in explanation.rules:
        yield (
            "rule",
            f"{_rule(rule)}{', which the client is in' if rule in explanation.granted_by and rule.group else ''}",
        )


def _security(finding: SecurityFinding) -> Iterator[tuple[str, str]]:
    """The rule that lets all of it pass; else what each group lets pass there."""
    if finding.wholly:
        group, rule = finding.wholly[0]
        yield "security", f"{_group(group)} allows {_traffic(rule)}"
        return
    if not finding.groups:
        yield "security", "no group, so nothing passes"
    for group in finding.groups:
        rules = [rule for of_group, rule in finding.partly or finding.toward if of_group == group]
        yield "security", f"{_group(group)} allows {_several(rules) if rules else 'nothing of it'}"


def _group(group: SecurityGroup) -> str:
    return f"{group.name} ({group.id})"


def _several(rules: Sequence[SecurityGroupRule]) -> str:
    shown = ", ".join(_traffic(rule) for rule in rules[:_RULES_SHOWN])
    more = len(rules) - _RULES_SHOWN
    return f"only {shown}" + (f" and {more} more" if more > 0 else "")


def _traffic(rule: SecurityGroupRule) -> str:
    return describe_traffic(rule) + (f" to {rule.destination}" if rule.destination.prefixlen else "")


def _notes(explanation: Explanation) -> Iterator[tuple[str, str]]:
    if explanation.security is None and not (explanation.port is None and explanation.protocol is None):
        yield "note", "rules hold for every protocol and port"
    if explanation.target is not None and explanation.target.nat:
        yield "note", f"{explanation.target.name} sees the gateway's own address as the source"
    if explanation.target is not None and not explanation.target.nat:
        yield (
            "note",
            f"{explanation.target.name} sees the client's address, and must route {explanation.client_cidr_block} back",
        )


def _rule(rule: AuthorizationRule) -> str:
    return f"{rule.destination} for {_grantee(rule)}"


def _grantee(rule: AuthorizationRule) -> str:
    return "everyone" if rule.group is None else f'the group "{rule.group}"'


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."
