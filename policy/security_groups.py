"""What security groups let pass: their meaning, rule by rule, as AWS has it.

Rules only allow. Those of all groups of a target network add up; what none allows does not pass, and what belongs to
a connection that one allows passes in both directions. The firewall says the same to the kernel
(`gateway.hostnet.security_groups`), and a property test holds the two equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from policy.spec import SecurityGroup, SecurityGroupRule

__all__ = [
    "ALL_PROTOCOLS",
    "ANY",
    "PROTOCOL_NUMBERS",
    "allows_everything",
    "describe_traffic",
    "has_ports",
    "is_same_protocol",
    "may_permit",
    "permits",
    "rules_toward",
]

ALL_PROTOCOLS = "-1"
"""The protocol of a rule that allows every one."""
ANY = -1
"""The port, ICMP type or ICMP code of a rule that allows every one."""
PROTOCOL_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17}
"""The protocols with a name: those whose rules look at ports, types and codes. With others, these mean nothing."""

_EVERY_PORT = ((ANY, ANY), (0, 65_535))
_EVERYTHING = {"icmp": ((ANY, ANY),), "tcp": _EVERY_PORT, "udp": _EVERY_PORT}


def allows_everything(rules: Iterable[SecurityGroupRule]) -> bool:
    """Whether one of the rules lets everything pass, whatever the others say."""
    return any(rule.protocol == ALL_PROTOCOLS and rule.destination.prefixlen == 0 for rule in rules)


def has_ports(rule: SecurityGroupRule) -> bool:
    """Whether a rule is about part of its protocol only: some ports, or some ICMP types."""
    return rule.protocol in PROTOCOL_NUMBERS and (rule.from_port, rule.to_port) not in _EVERYTHING[rule.protocol]


def rules_toward(
    groups: Iterable[SecurityGroup], destination: IPv4Address
) -> Iterator[tuple[SecurityGroup, SecurityGroupRule]]:
    """The egress rules that are about an address, each with its group."""
    for group in groups:
        for rule in group.egress:
            if destination in rule.destination:
                yield group, rule


def permits(rule: SecurityGroupRule, protocol: str, port: int | None, code: int | None = None) -> bool:
    """Whether a rule lets pass all that is asked about: one port of a protocol, or with None the whole protocol.

    With ICMP, `port` is the type, and `code` the code; a rule for one code does not allow the whole type.
    """
    if rule.protocol == ALL_PROTOCOLS:
        return True
    if not is_same_protocol(rule.protocol, protocol):
        return False
    if not has_ports(rule):
        return True
    if rule.protocol == "icmp":
        return port == rule.from_port and rule.to_port in (ANY, code)
    return port is not None and rule.from_port <= port <= rule.to_port


def may_permit(rule: SecurityGroupRule, protocol: str | None, port: int | None) -> bool:
    """Whether a rule lets pass some of what is asked about, where protocol or port are left open with None."""
    if rule.protocol == ALL_PROTOCOLS:
        return True
    if protocol is not None and not is_same_protocol(rule.protocol, protocol):
        return False
    if protocol is None and port is not None and rule.protocol not in ("tcp", "udp"):
        return False  # who names a port means something that has ports
    if port is None or not has_ports(rule):
        return True
    return rule.from_port == port if rule.protocol == "icmp" else rule.from_port <= port <= rule.to_port


def is_same_protocol(one: str, other: str) -> bool:
    """Whether two texts mean one protocol: `tcp` and `6` do."""
    return _number(one) == _number(other)


def describe_traffic(rule: SecurityGroupRule) -> str:
    """What a rule lets pass, for people: `tcp port 443`, `udp ports 5000 to 5010`, `icmp type 8`, `all traffic`."""
    if rule.protocol == ALL_PROTOCOLS:
        return "all traffic"
    if rule.protocol not in PROTOCOL_NUMBERS:
        return f"protocol {rule.protocol}"
    if not has_ports(rule):
        return f"all of {rule.protocol}"
    if rule.protocol == "icmp":
        return f"icmp type {rule.from_port}" + ("" if rule.to_port == ANY else f" code {rule.to_port}")
    if rule.from_port == rule.to_port:
        return f"{rule.protocol} port {rule.from_port}"
    return f"{rule.protocol} ports {rule.from_port} to {rule.to_port}"


def _number(protocol: str) -> str:
    return str(PROTOCOL_NUMBERS.get(protocol, protocol))
