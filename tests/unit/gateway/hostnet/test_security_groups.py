"""What the chains say, read by a small interpreter; what the kernel makes of them, `test_filtered_packets` shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.hostnet.firewall import Ruleset, TunnelRules, build_table
from gateway.hostnet.records import Device
from gateway.hostnet.routing import target_routes
from gateway.hostnet.security_groups import DROP_COMMENT, Direction, build_filter
from policy import EndpointSpec, SecurityGroup, SecurityGroupRule, TargetNetwork
from policy.security_groups import permits
from tests.unit.gateway.hostnet.hosts import LAB, OFFICE, make_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENTS = IPv4Network("10.80.0.0/22")
CLIENT = IPv4Address("10.80.0.5")
NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17}


def allow(protocol: str, first: int = -1, last: int = -1, other: str = "0.0.0.0/0") -> SecurityGroupRule:
    return SecurityGroupRule("sgr-1", protocol, first, last, IPv4Network(other))


def filtered(*egress: SecurityGroupRule, of: TargetNetwork = OFFICE) -> TargetNetwork:
    return replace(of, security_groups=(SecurityGroup("sg-1", "web", egress),))


def table_of(*specs: EndpointSpec) -> list[dict[str, Any]]:
    tunnels = tuple(
        TunnelRules(Device(f"portway{i}", 7 + i), spec.client_cidr_block, False, target_routes(spec))
        for i, spec in enumerate(specs)
    )
    return [command["add"] for command in build_table("portway_a", Ruleset(tunnels, frozenset())) if "add" in command]


@dataclass
class Connection:
    """The first packet of a connection, as connection tracking remembers it."""

    source: IPv4Address
    destination: IPv4Address
    protocol: int
    port: int

    def value(self, key: str) -> int:
        return {
            "ip saddr": int(self.source),
            "ip daddr": int(self.destination),
            "protocol": self.protocol,
            "proto-dst": self.port,
        }[key]


class Interpreter:
    """As much of nftables as the filters use."""

    def __init__(self, table: Sequence[dict[str, Any]]) -> None:
        self.named = {item[kind]["name"]: item[kind] for item in table for kind in ("set", "map") if kind in item}
        self.rules: dict[str, list[dict[str, Any]]] = {}
        for item in table:
            if "rule" in item:
                self.rules.setdefault(item["rule"]["chain"], []).append(item["rule"])

    def passes(self, connection: Connection, hook: str = "forward") -> bool:
        return self._run(hook, connection) != "drop"

    def _run(self, chain: str, connection: Connection) -> str | None:
        for rule in self.rules.get(chain, []):
            verdict = self._rule(rule, connection)
            if verdict == "return":
                return None
            if verdict is not None:
                return verdict
        return None

    def _rule(self, rule: dict[str, Any], connection: Connection) -> str | None:
        if chain_of(rule) in {"forward", "input"} and not is_dispatch(rule):
            return None
        for expression in rule["expr"]:
            ((kind, value),) = expression.items()
            if kind == "match":
                if not self._matches(value, connection):
                    return None
            elif kind == "vmap":
                found = self._look_up(value["key"], value["data"], connection)
                return self._verdict(found, connection) if found else None
            elif kind != "counter":
                return self._verdict(expression, connection)
        return None

    def _verdict(self, expression: dict[str, Any], connection: Connection) -> str | None:
        ((kind, value),) = expression.items()
        if kind == "jump":
            return self._run(value["target"], connection)
        if kind == "goto":
            return self._run(value["target"], connection) or "return"
        return str(kind)

    def _matches(self, match: dict[str, Any], connection: Connection) -> bool:
        left, right = match["left"], match["right"]
        if "meta" in left:
            if left["meta"]["key"] != "l4proto":
                return False
            return connection.protocol in {NUMBERS[name] for name in right["set"]}
        if isinstance(right, str):
            return self._look_up(left, right, connection) is not None
        return within(connection.value(left["ct"]["key"]), right)

    def _look_up(self, key: dict[str, Any], name: str, connection: Connection) -> Any:
        keys = [part["ct"]["key"] for part in key.get("concat", [key])]
        values = [connection.value(each) for each in keys]
        named = self.named[name.removeprefix("@")]
        for element in named.get("elem", []):
            intervals, verdict = element if isinstance(element, list) else (element, {})
            parts = intervals.get("concat", [intervals])
            if all(within(value, part) for value, part in zip(values, parts, strict=True)):
                return verdict
        return None


def chain_of(rule: dict[str, Any]) -> str:
    return str(rule["chain"])


def is_dispatch(rule: dict[str, Any]) -> bool:
    return "jump" in rule["expr"][-1]


def bounds(part: Any) -> tuple[int, int]:
    if isinstance(part, int):
        return part, part
    if "prefix" in part:
        network = IPv4Network((part["prefix"]["addr"], part["prefix"]["len"]))
        return int(network[0]), int(network[-1])
    first, last = (each if isinstance(each, int) else int(IPv4Address(each)) for each in part["range"])
    return first, last


def within(value: int, part: Any) -> bool:
    first, last = bounds(part)
    return first <= value <= last


# Rules in a small world, where much overlaps

networks = st.sampled_from(["0.0.0.0/0", "10.20.0.0/16", "10.20.0.0/24", "10.20.0.128/25", "10.20.0.9/32"])
numbers = st.integers(0, 6)
ported = st.builds(
    lambda protocol, first, more, other: allow(protocol, first, first + more, other),
    st.sampled_from(["tcp", "udp"]),
    numbers,
    numbers,
    networks,
)
icmp = st.builds(lambda kind, code, other: allow("icmp", kind, code, other), numbers, st.integers(-1, 2), networks)
whole = st.builds(
    lambda protocol, other: allow(protocol, other=other), st.sampled_from(["tcp", "icmp", "47"]), networks
)
everything = st.builds(lambda other: allow("-1", other=other), networks.filter(lambda text: text != "0.0.0.0/0"))
rules = st.one_of(ported, icmp, whole, everything)
destinations = st.sampled_from(["10.20.0.9", "10.20.0.200", "10.20.7.7", "10.99.0.1"]).map(IPv4Address)


@given(st.lists(rules, max_size=12), destinations, st.sampled_from(["tcp", "udp", "icmp", "47"]), numbers, numbers)
def test_the_chains_say_what_the_rules_mean(
    egress: list[SecurityGroupRule], destination: IPv4Address, protocol: str, port: int, code: int
) -> None:
    table = table_of(make_spec("main", filtered(*egress), routes=[("0.0.0.0/0", "office")]))
    seen = port * 256 + code if protocol == "icmp" else port
    connection = Connection(CLIENT, destination, NUMBERS.get(protocol) or int(protocol), seen)
    meant = any(
        destination in rule.destination and permits(rule, protocol, port, code if protocol == "icmp" else None)
        for rule in egress
    )
    assert Interpreter(table).passes(connection) is meant
    assert Interpreter(table).passes(connection, "input") is meant


@given(st.lists(rules, max_size=20))
def test_no_two_elements_of_a_set_overlap(egress: list[SecurityGroupRule]) -> None:
    named = Interpreter(table_of(make_spec("main", filtered(*egress)))).named.values()
    for each in named:
        keys = [element[0] if isinstance(element, list) else element for element in each.get("elem", [])]
        for one, other in combinations([key.get("concat", [key]) for key in keys if "elem" not in key], 2):
            pairs = [(bounds(a), bounds(b)) for a, b in zip(one, other, strict=True)]
            assert any(a[1] < b[0] or b[1] < a[0] for a, b in pairs)


def test_groups_that_allow_everything_cost_nothing() -> None:
    plain = table_of(make_spec("main", OFFICE, LAB))
    allowing = filtered(allow("tcp", 443, 443), allow("-1"))
    groups = (*(allowing.security_groups or ()), SecurityGroup("sg-2", "in", (), (allow("-1"),)))
    assert table_of(make_spec("main", replace(OFFICE, security_groups=groups), LAB)) == plain


def test_networks_with_equal_rules_share_a_filter() -> None:
    one, other = filtered(allow("tcp", 443, 443)), filtered(allow("tcp", 443, 443), of=LAB)
    chains = [item["chain"]["name"] for item in table_of(make_spec("main", one, other)) if "chain" in item]
    assert sorted(name for name in chains if "filter" in name) == ["egress_filter_0_0", "ingress_filter_0_0"]


def test_a_port_in_two_overlapping_ranges_is_there_once() -> None:
    table = table_of(make_spec("main", filtered(allow("tcp", 1, 5), allow("tcp", 4, 9), allow("tcp", 10, 11))))
    (ports,) = [item["set"]["elem"] for item in table if "set" in item and "ports" in item["set"]["name"]]
    assert [element["concat"][2] for element in ports] == [{"range": [1, 11]}]


def test_what_stays_among_clients_is_not_looked_at() -> None:
    table = table_of(make_spec("main", filtered(), routes=[("0.0.0.0/0", "office")]))
    assert Interpreter(table).passes(Connection(CLIENT, IPv4Address("10.80.0.6"), 6, 443))
    assert not Interpreter(table).passes(Connection(CLIENT, IPv4Address("10.81.0.6"), 6, 443))


def test_the_most_specific_route_decides() -> None:
    routes = [("10.20.0.0/16", "office"), ("10.20.7.0/24", "lab"), ("10.20.7.7/32", "office")]
    passes = Interpreter(table_of(make_spec("main", filtered(), LAB, routes=routes))).passes
    for destination, expected in (("10.20.6.255", False), ("10.20.7.6", True), ("10.20.7.7", False)):
        assert passes(Connection(CLIENT, IPv4Address(destination), 6, 443)) is expected


def test_a_network_without_groups_has_no_filter() -> None:
    assert build_filter(OFFICE, Direction.EGRESS) is None
    assert build_filter(replace(OFFICE, security_groups=()), Direction.EGRESS) == frozenset()


def test_every_filter_ends_with_a_drop_that_counts() -> None:
    table = table_of(make_spec("main", filtered(allow("udp"))), make_spec("other", filtered(), clients="10.90.0.0/22"))
    last = {item["rule"]["chain"]: item["rule"] for item in table if "rule" in item}
    filters = [rule for chain, rule in last.items() if "filter" in chain]
    assert len(filters) == 3
    assert all(rule["comment"] == DROP_COMMENT and "drop" in rule["expr"][-1] for rule in filters)
