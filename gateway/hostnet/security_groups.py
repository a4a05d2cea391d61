"""Security groups as nftables' chains: which connections pass between an endpoint's clients and a target network.

    forward ─▶ opened by a client?           ─▶ egress_3_0   the route to where it leads    ─▶ egress_filter_0_0
            ─▶ opened toward a client?       ─▶ ingress_3_0  the route to where it is from  ─▶ ingress_filter_0_0
    input   ─▶ the same: a host's own address on a target network is part of that network

Everything looks at the connection's first packet, as connection tracking remembers it, never at the packet at hand. So
both directions of a connection and the ICMP errors about it meet the same verdict, and no state of our own is needed;
and since *every* packet is looked at, not only the first, a connection ends at the moment when the rule that allowed
it is gone. What connection tracking was told to leave alone cannot be filtered so, and does not pass.

- Which groups decide is a matter of the endpoint's routes: the most specific one around the connection's far end, be
  the interface what it may. Where a target network opens a connection from an address that no route leads to, the
  interface says whose it is. What stays between clients, or is for the gateway's own address among them, passes.
- The kernel shows the elements of a new map or set a little later than new rules that look it up (0.3 ms were seen).
  So every address is in a map, and what is found in none is dropped: never does more pass than before and after. That
  nothing less passes either, names of two generations are for: what rules look up is made before them.
- Groups that add up to the same rules share a filter; groups with a rule for everything cost nothing at all.
- A filter has one set for each prefix length that its rules use, and for rules with ports another: prefixes of one
  length are equal or apart, and where they are equal their ports are joined, so no two elements overlap, which nft
  would refuse. A packet costs one look-up per prefix length, however many rules there are.
- With ICMP, connection tracking has type and code where others have the destination port, as `type * 256 + code`.

A flowtable in another's table takes its connections past every filter, this one included.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from gateway.hostnet import expressions as nft
from policy import ALL_PROTOCOLS, ANY, PROTOCOL_NUMBERS, allows_everything, has_ports, sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from ipaddress import IPv4Network

    from gateway.hostnet.expressions import Expression, TableKey
    from gateway.hostnet.records import Device
    from gateway.hostnet.routing import TargetRoute
    from policy import SecurityGroupRule, TargetNetwork

__all__ = [
    "DROP_COMMENT",
    "Direction",
    "Filter",
    "GuardedTunnel",
    "build_dispatch",
    "build_filter",
    "build_filters",
    "may_allow_more",
]

DROP_COMMENT = "security group"
"""By which the counters of what security groups drop are known."""

_EVERY_PROTOCOL = (0, 255)
_LAST_PORT = 65_535
_LAST_ADDRESS = 2**32 - 1


class Direction(enum.Enum):
    """Who opens a connection; the value names chains."""

    EGRESS = "egress"
    """A client, toward a target network."""
    INGRESS = "ingress"
    """A target network, toward a client."""

    @property
    def client(self) -> Expression:
        """The client's address, as an expression."""
        return nft.connection("ip saddr" if self is Direction.EGRESS else "ip daddr")

    @property
    def far_end(self) -> Expression:
        """The address in the target network, as an expression."""
        return nft.connection("ip daddr" if self is Direction.EGRESS else "ip saddr")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a rule allows, as connection tracking sees it; rules that mean the same are equal."""

    first_protocol: int
    last_protocol: int
    """The first one, or the last of all."""
    network: IPv4Network
    ports: tuple[int, int] | None
    """The first and the last destination port, or ICMP type and code; None where the rule is for all of them."""


Filter = frozenset[Allowance]
"""All that the security groups of a target network allow in one direction."""


@dataclass(frozen=True, slots=True)
class GuardedTunnel:
    """What security groups need to know of an endpoint."""

    device: Device
    client_range: IPv4Network
    routes: tuple[TargetRoute, ...]
    """The most specific first."""
    generation: int = 0
    """Of the names of chains, maps and sets: those of two generations are apart."""

    def filters(self, direction: Direction) -> dict[TargetNetwork, Filter | None]:
        """What filters each target network; None where nothing does."""
        return {route.target: build_filter(route.target, direction) for route in self.routes}

    @property
    def is_filtered(self) -> bool:
        """Whether anything has to be looked at."""
        return any(allowed is not None for way in Direction for allowed in self.filters(way).values())


def may_allow_more(former: GuardedTunnel, wanted: GuardedTunnel) -> bool:
    """Whether by former filters something may pass that is not to pass by the wanted ones.

    Whoever asks is told yes too often rather than not often enough: other routes may lead to other filters.
    """
    if not wanted.is_filtered:
        return False
    if [_way(route) for route in former.routes] != [_way(route) for route in wanted.routes]:
        return True
    for direction in Direction:
        before, after = former.filters(direction), wanted.filters(direction)
        for old, new in zip(former.routes, wanted.routes, strict=True):
            allowed, to_allow = before[old.target], after[new.target]
            if to_allow is not None and (allowed is None or not allowed <= to_allow):
                return True
    return False


def _way(route: TargetRoute) -> tuple[IPv4Network, str, str]:
    """What filters are chosen by, which of its own accord says nothing of what they let pass."""
    return route.destination, route.target.name, route.target.interface


def build_filter(target: TargetNetwork, direction: Direction) -> Filter | None:
    """What passes by the groups of a target network; None where everything does."""
    if target.security_groups is None:
        return None
    is_egress = direction is Direction.EGRESS
    rules = [rule for group in target.security_groups for rule in (group.egress if is_egress else group.ingress)]
    return None if allows_everything(rules) else frozenset(map(_allowance, rules))


def build_filters(table: TableKey, tunnels: Sequence[GuardedTunnel]) -> Iterator[Expression]:
    """The chains that `build_dispatch` leads to, and what they look up."""
    for direction in Direction:
        every = [allowed for tunnel in tunnels for allowed in tunnel.filters(direction).values()]
        filters = dict.fromkeys(allowed for allowed in every if allowed is not None)
        generation = tunnels[0].generation if tunnels else 0
        names = {allowed: f"{direction.value}_filter_{i}_{generation}" for i, allowed in enumerate(filters)}
        for allowed, name in names.items():
            yield from _build_filter(table, name, direction, allowed)
        for tunnel in tunnels:
            yield from _build_tunnel(table, tunnel, direction, names)


def build_dispatch(table: TableKey, hook: str, tunnels: Sequence[GuardedTunnel]) -> Iterator[Expression]:
    """The rules of a base chain that send connections of these tunnels through their filters; the rest goes on."""
    directions = tuple(Direction) if hook == "forward" else (Direction.EGRESS,)
    for tunnel in tunnels:
        for direction in directions:
            of_client = nft.match_network(direction.client, tunnel.client_range)
            yield nft.rule(table, hook, of_client, nft.jump(_chain_name(tunnel, direction)))
        yield from _build_untracked(table, hook, tunnel)


def _build_untracked(table: TableKey, hook: str, tunnel: GuardedTunnel) -> Iterator[Expression]:
    """Without a connection to look into, no rule of a filter matches but the last one, which drops."""
    untracked = nft.match({"ct": {"key": "state"}}, ["untracked"], "in")
    ends = (("iifname", "daddr"), ("oifname", "saddr")) if hook == "forward" else (("iifname", "daddr"),)
    for interface, far_end in ends:
        by_tunnel = nft.match({"meta": {"key": interface}}, tunnel.device.name)
        yield nft.rule(table, hook, by_tunnel, untracked, nft.jump(_untracked_name(tunnel, far_end)))


def _build_tunnel(
    table: TableKey, tunnel: GuardedTunnel, direction: Direction, names: Mapping[Filter, str]
) -> Iterator[Expression]:
    """From a connection's far end to the filter of its target network; from there back into the base chain."""
    chain, pass_on = _chain_name(tunnel, direction), {"return": None}
    verdicts = {
        target: pass_on if allowed is None else nft.go_to(names[allowed])
        for target, allowed in tunnel.filters(direction).items()
    }
    elsewhere = nft.go_to(f"{chain}_elsewhere") if direction is Direction.INGRESS else pass_on
    if direction is Direction.INGRESS:
        yield nft.chain(table, f"{chain}_elsewhere")
        filtered = {target.interface: verdict for target, verdict in verdicts.items() if "goto" in verdict}
        for interface, verdict in sorted(filtered.items()):
            yield nft.rule(table, f"{chain}_elsewhere", nft.match({"meta": {"key": "iifname"}}, interface), verdict)
    yield nft.address_map(table, _map_name(tunnel, direction), _decide_by_route(tunnel, verdicts, elsewhere))
    far_ends = {chain: direction.far_end}
    if direction is Direction.EGRESS:
        far_ends |= {_untracked_name(tunnel, field): nft.address(field) for field in ("daddr", "saddr")}
    for name, far_end in far_ends.items():
        yield nft.chain(table, name)
        yield nft.rule(table, name, nft.look_up(far_end, _map_name(tunnel, direction)))
        yield nft.counted_drop(table, name, DROP_COMMENT)


def _decide_by_route(
    tunnel: GuardedTunnel, verdicts: Mapping[TargetNetwork, Expression], elsewhere: Expression
) -> Iterator[tuple[IPv4Address, IPv4Address, Expression]]:
    """All addresses, in intervals, each with the verdict of the target network that its route leads to."""
    among_clients = (tunnel.client_range, False)
    nowhere = [(route.destination, False) for route in tunnel.routes]
    yield from _intervals([*nowhere, (tunnel.client_range, True)], elsewhere, default=True)
    for target, verdict in verdicts.items():
        routes = [(route.destination, route.target == target) for route in tunnel.routes]
        yield from _intervals([*routes, among_clients], verdict, default=False)


def _intervals(
    prefixes: Iterable[tuple[IPv4Network, bool]], verdict: Expression, *, default: bool
) -> Iterator[tuple[IPv4Address, IPv4Address, Expression]]:
    intervals = sweep(prefixes, default=default)
    ends = [interval.start - 1 for interval in intervals[1:]] + [_LAST_ADDRESS]
    for (start, is_here), end in zip(intervals, ends, strict=True):
        if is_here:
            yield IPv4Address(start), IPv4Address(end), verdict


def _build_filter(table: TableKey, name: str, direction: Direction, allowed: Filter) -> Iterator[Expression]:
    yield nft.chain(table, name)
    protocol, port = nft.connection("protocol"), nft.connection("proto-dst")
    # nft knows the type of proto-dst only behind a match of the packet's own protocol. Here that is one of these, or
    # ICMP with an error about a connection of one of these.
    with_ports = nft.match({"meta": {"key": "l4proto"}}, {"set": sorted(PROTOCOL_NUMBERS)})
    for length, elements in _by_length(_whole_protocols(allowed)):
        looked_up = f"{name}_protocols_{length}"
        yield nft.interval_set(table, looked_up, ("inet_proto", "ipv4_addr"), elements)
        key = nft.concat(protocol, direction.far_end)
        yield nft.rule(table, name, nft.match(key, f"@{looked_up}"), {"return": None})
    for length, elements in _by_length(_ports(allowed)):
        looked_up = f"{name}_ports_{length}"
        yield nft.interval_set(table, looked_up, ("inet_proto", "ipv4_addr", "inet_service"), elements)
        key = nft.concat(protocol, direction.far_end, port)
        yield nft.rule(table, name, with_ports, nft.match(key, f"@{looked_up}"), {"return": None})
    yield nft.counted_drop(table, name, DROP_COMMENT)


def _by_length(elements: Iterable[tuple[IPv4Network, Expression]]) -> Iterator[tuple[int, list[Expression]]]:
    """Elements by the prefix length of their networks, the longest first."""
    lists: dict[int, list[Expression]] = {}
    for network, element in elements:
        lists.setdefault(network.prefixlen, []).append(element)
    yield from sorted(lists.items(), reverse=True)


def _whole_protocols(allowed: Filter) -> Iterator[tuple[IPv4Network, Expression]]:
    """What is allowed whatever the port: for each network all protocols, or some of them."""
    protocols: dict[IPv4Network, set[tuple[int, int]]] = {}
    for one in allowed:
        if one.ports is None:
            protocols.setdefault(one.network, set()).add((one.first_protocol, one.last_protocol))
    for network, intervals in sorted(protocols.items()):
        for first, last in [_EVERY_PROTOCOL] if _EVERY_PROTOCOL in intervals else sorted(intervals):
            yield network, nft.concat(nft.interval(first, last), nft.prefix(network))


def _ports(allowed: Filter) -> Iterator[tuple[IPv4Network, Expression]]:
    """What is allowed of a protocol: for each protocol and network the ports, joined."""
    ports: dict[tuple[int, IPv4Network], list[tuple[int, int]]] = {}
    for one in allowed:
        if one.ports is not None:
            ports.setdefault((one.first_protocol, one.network), []).append(one.ports)
    for (protocol, network), intervals in sorted(ports.items()):
        for first, last in _joined(intervals):
            yield network, nft.concat(protocol, nft.prefix(network), nft.interval(first, last))


def _joined(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals without overlap that cover the same numbers."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(intervals):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _allowance(rule: SecurityGroupRule) -> Allowance:
    if rule.protocol == ALL_PROTOCOLS:
        return Allowance(*_EVERY_PROTOCOL, rule.destination, None)
    number = PROTOCOL_NUMBERS[rule.protocol] if rule.protocol in PROTOCOL_NUMBERS else int(rule.protocol)
    return Allowance(number, number, rule.destination, _port_interval(rule) if has_ports(rule) else None)


def _port_interval(rule: SecurityGroupRule) -> tuple[int, int]:
    if rule.protocol != "icmp":
        return rule.from_port, rule.to_port
    of_type = rule.from_port << 8
    return (of_type, of_type | 0xFF) if rule.to_port == ANY else (of_type | rule.to_port,) * 2


def _chain_name(tunnel: GuardedTunnel, direction: Direction) -> str:
    return f"{direction.value}_{tunnel.device.ifindex}_{tunnel.generation}"


def _untracked_name(tunnel: GuardedTunnel, field: str) -> str:
    return f"untracked_{field}_{tunnel.device.ifindex}_{tunnel.generation}"


def _map_name(tunnel: GuardedTunnel, direction: Direction) -> str:
    return f"{_chain_name(tunnel, direction)}_routes"
