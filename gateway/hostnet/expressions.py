"""nftables' JSON in pieces: what `libnftables-json(5)` calls chains, rules, sets, matches. Knows no policy of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address, IPv4Network

__all__ = [
    "Expression",
    "TableKey",
    "address",
    "address_map",
    "base_chain",
    "chain",
    "concat",
    "connection",
    "counted_drop",
    "go_to",
    "interval",
    "interval_set",
    "jump",
    "look_up",
    "match",
    "match_network",
    "prefix",
    "rule",
]

Expression = dict[str, Any]
TableKey = dict[str, str]
"""`family` and `table`: what every object in a table says of where it belongs."""


def base_chain(table: TableKey, hook: str, kind: str, priority: int) -> Expression:
    """A chain that packets enter by themselves; it is named like its hook."""
    return {"add": {"chain": {**table, "name": hook, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}}}


def chain(table: TableKey, name: str) -> Expression:
    """A chain that other chains jump to."""
    return {"add": {"chain": {**table, "name": name}}}


def rule(table: TableKey, chain_name: str, *expressions: Expression, comment: str | None = None) -> Expression:
    """A rule at the end of a chain."""
    made = {**table, "chain": chain_name, "expr": list(expressions)}
    return {"add": {"rule": made | ({"comment": comment} if comment else {})}}


def counted_drop(table: TableKey, chain_name: str, why: str, *matches: Expression) -> Expression:
    """A rule that drops and counts; the comment says why, for whoever lists the table."""
    counter = {"counter": {"packets": 0, "bytes": 0}}
    return rule(table, chain_name, *matches, counter, {"drop": None}, comment=why)


def jump(chain_name: str) -> Expression:
    """Go on in another chain, and come back at its end."""
    return {"jump": {"target": chain_name}}


def match(left: Expression, value: Any, operator: str = "==") -> Expression:
    """Compare something of a packet."""
    return {"match": {"op": operator, "left": left, "right": value}}


def match_network(left: Expression, network: IPv4Network) -> Expression:
    """Whether an address is in a network."""
    return match(left, prefix(network))


def go_to(chain_name: str) -> Expression:
    """Go on in another chain, and from its end come back to where this one was jumped to from."""
    return {"goto": {"target": chain_name}}


def look_up(left: Expression, name: str) -> Expression:
    """Do what a verdict map says; go on where it says nothing."""
    return {"vmap": {"key": left, "data": f"@{name}"}}


def connection(key: str) -> Expression:
    """Something of the first packet of the connection that a packet belongs to, in whichever direction it goes."""
    return {"ct": {"key": key, "dir": "original"}}


def concat(*parts: Any) -> Expression:
    """Several things as one key."""
    return {"concat": list(parts)}


def address(field: str) -> Expression:
    """The packet's own `saddr` or `daddr`."""
    return {"payload": {"protocol": "ip", "field": field}}


def interval(first: int, last: int) -> Any:
    """The numbers from the first to the last as a value."""
    return first if first == last else {"range": [first, last]}


def prefix(network: IPv4Network) -> Expression:
    """A network as a value."""
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def interval_set(table: TableKey, name: str, types: Sequence[str], elements: Sequence[Any]) -> Expression:
    """A named set whose elements are intervals, which must not overlap."""
    made = {**table, "name": name, "type": types[0] if len(types) == 1 else list(types), "flags": ["interval"]}
    return {"add": {"set": made | _elements(elements)}}


def address_map(
    table: TableKey, name: str, verdicts: Iterable[tuple[IPv4Address, IPv4Address, Expression]]
) -> Expression:
    """A named map to verdicts from intervals of addresses, given by their first and last; they must not overlap."""
    elements = [[{"range": [str(first), str(last)]}, verdict] for first, last, verdict in verdicts]
    made = {**table, "name": name, "type": "ipv4_addr", "map": "verdict", "flags": ["interval"]}
    return {"add": {"map": made | _elements(elements)}}


def _elements(elements: Sequence[Any]) -> Expression:
    return {"elem": list(elements)} if elements else {}  # nft takes no empty list
