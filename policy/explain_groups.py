"""What the security groups of a target network say about a packet, and about one of which only part is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policy.security_groups import ALL_PROTOCOLS, PROTOCOL_NUMBERS, allows_everything, may_permit, permits, rules_toward

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from policy.spec import SecurityGroup, SecurityGroupRule, TargetNetwork

    Granting = tuple[SecurityGroup, SecurityGroupRule]
    """A rule, and the group that it is in."""

__all__ = ["Packet", "SecurityFinding", "examine_groups"]


@dataclass(frozen=True, slots=True)
class Packet:
    """What is asked about: a destination, with as much of protocol and port as is known."""

    destination: IPv4Address
    port: int | None = None
    """For `icmp` the type."""
    protocol: str | None = None
    """`tcp`, `udp`, `icmp` or a protocol's number."""


@dataclass(frozen=True, slots=True)
class SecurityFinding:
    """What filters a target network, and what of it lets a packet pass."""

    target: TargetNetwork
    toward: tuple[Granting, ...]
    """The rules about the destination."""
    partly: tuple[Granting, ...]
    """Those that let some of what was asked about pass: all that have a say where nothing was left open."""
    wholly: tuple[Granting, ...]
    """Those that let all of it pass."""

    @property
    def groups(self) -> tuple[SecurityGroup, ...]:
        """The security groups of the target network."""
        return self.target.security_groups or ()

    @property
    def allowed(self) -> bool:
        """Whether any of it passes."""
        return bool(self.partly)


def examine_groups(target: TargetNetwork | None, packet: Packet) -> SecurityFinding | None:
    """What the groups of a target network say about a client's packet; None where nothing is filtered."""
    if target is None or target.security_groups is None:
        return None
    if allows_everything(rule for group in target.security_groups for rule in group.egress):
        return None
    toward = tuple(rules_toward(target.security_groups, packet.destination))
    return SecurityFinding(
        target=target,
        toward=toward,
        partly=tuple(each for each in toward if may_permit(each[1], packet.protocol, packet.port)),
        wholly=tuple(each for each in toward if _permits_all(each[1], packet)),
    )


def _permits_all(rule: SecurityGroupRule, packet: Packet) -> bool:
    if packet.protocol is None:
        return rule.protocol == ALL_PROTOCOLS
    return permits(rule, packet.protocol, packet.port if packet.protocol in PROTOCOL_NUMBERS else None)
