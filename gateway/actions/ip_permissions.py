"""Rules of security groups as EC2's API writes them: read from a call, and put into a reply.

Owns the many forms that mean one rule: `IpPermissions` with several other sides each, the older flat parameters,
protocols by name or number. Must not know which rules there are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.actions.call import ActionError
from gateway.actions.objects import canonical_cidr
from policy import ALL_PROTOCOLS, ANY, PROTOCOL_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy import Row

__all__ = [
    "Permission",
    "as_permission",
    "named_permissions",
    "permission_shapes",
    "read_description",
    "read_permissions",
]

_LARGEST_PORT = 65_535
_LARGEST_PROTOCOL = 255
_LARGEST_ICMP = 255
_MAX_DESCRIPTION = 255
"""Characters; AWS's limit."""
_FLAT = ("IpProtocol", "FromPort", "ToPort", "CidrIp", "SourceSecurityGroupName", "SourceSecurityGroupOwnerId")
_OTHER_SIDES = {
    "CidrIpv4": ("IpRanges", "CidrIp"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "PrefixListId": ("PrefixListIds", "PrefixListId"),
    "ReferencedGroupId": ("UserIdGroupPairs", "GroupId"),
}
"""What a rule calls its other side: in permissions, the list and its records' member."""
_NUMBER = re.compile(r"[0-9]{1,3}")
_NAMES = {"all": ALL_PROTOCOLS} | {str(number): name for name, number in PROTOCOL_NUMBERS.items()}
_ICMP_FOR_IPV6 = ("icmpv6", "58")
_UNSUPPORTED = {
    "Ipv6Ranges": "Networks behind Portway are IPv4. Use IpRanges.",
    "PrefixListIds": "There are no prefix lists here. Use IpRanges, one for each of its networks.",
}


@dataclass(frozen=True, slots=True)
class Permission:
    """One rule, as the store has it: equal ones are the same rule, whatever their descriptions."""

    protocol: str
    from_port: int
    to_port: int
    cidr: str
    """Empty where the other side is a group."""
    referenced_group_id: str
    """Empty where the other side is a CIDR."""

    def __str__(self) -> str:
        ports = "" if self.from_port == ANY else f" {self.from_port} to {self.to_port}"
        return f"{'all traffic' if self.protocol == ALL_PROTOCOLS else self.protocol}{ports}, {self._other_side}"

    @property
    def _other_side(self) -> str:
        return self.cidr or self.referenced_group_id


def named_permissions(parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The permissions that a call names, in whichever form; none is no error.

    Raises `InvalidParameterCombination` where both forms are there.
    """
    flat = [name for name in _FLAT if parameters.get(name) is not None]
    given = list(parameters.get("IpPermissions") or ())
    if flat and given:
        raise ActionError(
            "InvalidParameterCombination", f"{flat[0]} and IpPermissions say the same. Use IpPermissions alone."
        )
    return [_from_flat(parameters)] if flat else given


def as_permission(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """A `SecurityGroupRuleRequest`, which is about one rule, as the permission that it stands for.

    Raises `InvalidParameterCombination` where it has several other sides.
    """
    named = {member: rule[member] for member in _OTHER_SIDES if rule.get(member)}
    if len(named) > 1:
        raise ActionError("InvalidParameterCombination", f"A rule has one other side, and not {' and '.join(named)}.")
    permission = {name: rule[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in rule}
    for member, value in named.items():
        ranges, of_range = _OTHER_SIDES[member]
        permission[ranges] = [{of_range: value, "Description": rule.get("Description")}]
    return permission


def read_permissions(
    given: Iterable[Mapping[str, Any]],
    find_group: Callable[[Mapping[str, Any]], str],
    *,
    code_elsewhere: str = "UnsupportedOperation",
) -> dict[Permission, str]:
    """The rules that permissions stand for, each with its description.

    `find_group` gives the id of the group that a `UserIdGroupPair` means. Raises `InvalidParameterValue`,
    `MissingParameter`, `code_elsewhere` for what is not IPv4, and what `find_group` raises.
    """
    found: dict[Permission, str] = {}
    for permission in given:
        traffic = _read_traffic(permission)
        _check_is_here(permission, code_elsewhere)
        for cidr, group_id, description in _read_other_sides(permission, find_group):
            one = Permission(*traffic, cidr, group_id)
            if one in found:
                raise ActionError("InvalidParameterValue", f"The rule for {one} is there twice. Name it once.")
            found[one] = description
    return found


def permission_shapes(rows: Iterable[Row[Any]], account_id: str) -> list[dict[str, Any]]:
    """Rules of one direction as `IpPermissions`: those for the same traffic are one permission."""
    shapes: dict[tuple[str, int, int], dict[str, Any]] = {}
    for row in rows:
        shape = shapes.setdefault((row.protocol, row.from_port, row.to_port), _empty_permission(row))
        description = {"Description": row.description} if row.description else {}
        if row.cidr:
            shape["IpRanges"].append({"CidrIp": row.cidr} | description)
        else:
            pair = {"GroupId": row.referenced_group_id, "UserId": account_id}
            shape["UserIdGroupPairs"].append(pair | description)
    return list(shapes.values())


def _empty_permission(row: Row[Any]) -> dict[str, Any]:
    ports = {"FromPort": row.from_port, "ToPort": row.to_port} if row.protocol in PROTOCOL_NUMBERS else {}
    lists: dict[str, list[Any]] = {"IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": [], "UserIdGroupPairs": []}
    return {"IpProtocol": row.protocol, **ports, **lists}


def _from_flat(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    permission = {name: parameters[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in parameters}
    if parameters.get("CidrIp"):
        permission["IpRanges"] = [{"CidrIp": parameters["CidrIp"]}]
    if parameters.get("SourceSecurityGroupName"):
        pair = {"GroupName": parameters["SourceSecurityGroupName"]}
        if parameters.get("SourceSecurityGroupOwnerId"):
            pair["UserId"] = parameters["SourceSecurityGroupOwnerId"]
        permission["UserIdGroupPairs"] = [pair]
        # As with AWS, a group that is named so means all traffic where no protocol is given.
        permission.setdefault("IpProtocol", ALL_PROTOCOLS)
    return permission


def _read_traffic(permission: Mapping[str, Any]) -> tuple[str, int, int]:
    """Protocol and ports in the one form that the store has for them."""
    protocol = _read_protocol(permission.get("IpProtocol"))
    if protocol not in PROTOCOL_NUMBERS:
        return protocol, ANY, ANY  # as with AWS, ports mean nothing here
    first, last = permission.get("FromPort"), permission.get("ToPort")
    if first is None or last is None:
        kind = "the type and the code" if protocol == "icmp" else "the first and the last port"
        raise ActionError("MissingParameter", f"A rule for {protocol} needs FromPort and ToPort: {kind}.")
    return (protocol, *(_read_icmp if protocol == "icmp" else _read_ports)(first, last))


def _read_protocol(text: str | None) -> str:
    if not text:
        raise ActionError("MissingParameter", f"IpProtocol is missing: {_protocol_choices()}.")
    lower = text.lower()
    number = str(int(lower)) if _NUMBER.fullmatch(lower) else lower
    protocol = _NAMES.get(number, number)
    if protocol in _ICMP_FOR_IPV6:
        raise ActionError("InvalidParameterValue", f"IpProtocol {text!r} is IPv6's, and networks are IPv4. Use icmp.")
    is_number = _NUMBER.fullmatch(protocol) and int(protocol) <= _LARGEST_PROTOCOL
    if not is_number and protocol not in (*PROTOCOL_NUMBERS, ALL_PROTOCOLS):
        raise ActionError("InvalidParameterValue", f"There is no IpProtocol {text!r}. It is {_protocol_choices()}.")
    return protocol


def _protocol_choices() -> str:
    return f"{', '.join(sorted(PROTOCOL_NUMBERS))}, a number from 0 to {_LARGEST_PROTOCOL}, or {ALL_PROTOCOLS} for all"


def _read_ports(first: int, last: int) -> tuple[int, int]:
    if not 0 <= first <= last <= _LARGEST_PORT:
        raise ActionError(
            "InvalidParameterValue",
            f"{first} to {last} is no range of ports. Use ports from 0 to {_LARGEST_PORT}, the smaller one first.",
        )
    return first, last


def _read_icmp(kind: int, code: int) -> tuple[int, int]:
    if not (ANY <= kind <= _LARGEST_ICMP and ANY <= code <= _LARGEST_ICMP):
        raise ActionError(
            "InvalidParameterValue", f"{kind} and {code} are no ICMP type and code. Use 0 to {_LARGEST_ICMP}, or -1."
        )
    if kind == ANY and code != ANY:
        raise ActionError("InvalidParameterValue", "For every ICMP type, the code is every one as well: -1.")
    return kind, code


def _check_is_here(permission: Mapping[str, Any], code: str) -> None:
    for member, advice in _UNSUPPORTED.items():
        if permission.get(member):
            raise ActionError(code, f"{member}: {advice}")


def _read_other_sides(
    permission: Mapping[str, Any], find_group: Callable[[Mapping[str, Any]], str]
) -> Iterator[tuple[str, str, str]]:
    """CIDR, group id and description of each other side; of the first two, one is empty."""
    ranges, pairs = permission.get("IpRanges") or (), permission.get("UserIdGroupPairs") or ()
    if not ranges and not pairs:
        raise ActionError("MissingParameter", "A rule needs another side: IpRanges or UserIdGroupPairs.")
    for given in ranges:
        yield canonical_cidr(given.get("CidrIp") or ""), "", read_description(given)
    for given in pairs:
        yield "", find_group(given), read_description(given)


def read_description(given: Mapping[str, Any]) -> str:
    """The description of a rule; none is empty. Raises `InvalidParameterValue`."""
    text = str(given.get("Description") or "")
    if len(text) > _MAX_DESCRIPTION:
        raise ActionError(
            "InvalidParameterValue",
            f"The description of a rule has {len(text)} characters. It may have up to {_MAX_DESCRIPTION}.",
        )
    return text
