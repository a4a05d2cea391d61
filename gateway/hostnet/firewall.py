"""The daemon's own nftables table `inet portway_<daemon id>`: what it says, and keeping it so.

    forward      from a tunnel: packets that connection tracking finds invalid are dropped, others go on
                 towards a tunnel: replies and related packets; new connections only with `clients_reachable`
                 guard: where Portway has turned forwarding on, the host routes for the tunnels and nobody else
    prerouting   a source in a client range is believed only from its tunnel, and from the host itself
    postrouting  masquerade towards target networks with `nat`, route by route; none for routed ones

Two sets carry what must survive the daemon, so that whoever finds the table can clean up: `tunnels` (the TUN
devices that it serves: none alive, and the table is garbage) and `opened` (the interfaces whose forwarding
Portway has turned on). Each element names its interface and, in its comment, which one of that name it was.

The table is replaced whole in one transaction, so no packet meets half of it, and connections that are already
tracked keep their translation. An `accept` here ends only this table's part: where another table drops forwarded
packets by policy (Docker does, many host firewalls do), the administrator has to accept `portway*` there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.hostnet.nft import FAMILY, Nft
from gateway.hostnet.records import Device

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Network

    from gateway.hostnet.routing import TargetRoute

__all__ = ["Claim", "Firewall", "Ruleset", "TableRecord", "TunnelRules", "build_table", "parse_record", "table_name"]

TABLE_PREFIX = "portway_"
TUNNEL_WILDCARD = "portway*"
"""The TUN devices of every daemon: each guards its own."""

_TRANSLATION_PRIORITY = 100  # srcnat
_FILTER_PRIORITY = 0
_SOURCE_CHECK_PRIORITY = -150  # mangle: after conntrack has undone translations, before routing

Expression = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """An interface whose forwarding was off until Portway turned it on."""

    device: Device
    host_forwarded: bool
    """What `net.ipv4.ip_forward` said then."""


@dataclass(frozen=True, slots=True)
class TunnelRules:
    """What the firewall needs to know of one endpoint."""

    device: Device
    client_range: IPv4Network
    clients_reachable: bool
    routes: tuple[TargetRoute, ...]
    """The most specific first."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything that the table expresses."""

    tunnels: tuple[TunnelRules, ...]
    claims: frozenset[Claim]


@dataclass(frozen=True, slots=True)
class TableRecord:
    """What a table, of whichever daemon, remembers."""

    tunnels: frozenset[Device]
    claims: frozenset[Claim]


class Firewall:
    """One daemon's table: applied when it differs from what is wanted, or from what was last installed."""

    def __init__(self, nft: Nft, daemon_id: str) -> None:
        self._nft = nft
        self._name = table_name(daemon_id)
        self._ruleset: Ruleset | None = None
        self._installed: object = None

    def apply(self, ruleset: Ruleset) -> None:
        """Make the table say this; without tunnels and claims there is no table. Raises `NftablesError`."""
        if not ruleset.tunnels and not ruleset.claims:
            self.remove()
        elif ruleset != self._ruleset or self._listing() != self._installed:
            self._nft.apply(build_table(self._name, ruleset))
            self._ruleset, self._installed = ruleset, self._listing()

    def remove(self) -> None:
        """Remove the table; none there is no error."""
        self._ruleset = self._installed = None
        if self._name in self._nft.table_names():
            self._nft.apply(build_removal(self._name))

    def claimed_by_others(self) -> frozenset[Device]:
        """The interfaces that other daemons have turned forwarding on for."""
        records = (record for name, record in read_records(self._nft).items() if name != self._name)
        return frozenset(claim.device for record in records for claim in record.claims)

    def _listing(self) -> object:
        return _without_counts(self._nft.table(self._name))


def table_name(daemon_id: str) -> str:
    """The name of a daemon's table."""
    return TABLE_PREFIX + daemon_id


def read_records(nft: Nft) -> dict[str, TableRecord]:
    """What the tables of all daemons remember, by table name."""
    names = sorted(name for name in nft.table_names() if name.startswith(TABLE_PREFIX))
    return {name: parse_record(nft.table(name)) for name in names}


def build_table(name: str, ruleset: Ruleset) -> list[Expression]:
    """The transaction that puts the table in the place of whatever was there under its name."""
    table = {"family": FAMILY, "table": name}
    devices = {tunnel.device: None for tunnel in ruleset.tunnels}
    claims = {claim.device: claim.host_forwarded for claim in ruleset.claims}
    reachable = {tunnel.device: None for tunnel in ruleset.tunnels if tunnel.clients_reachable}
    return [
        *build_removal(name),
        {"add": {"table": {"family": FAMILY, "name": name}}},
        _build_set(table, "tunnels", devices),
        _build_set(table, "reachable", reachable),
        _build_set(table, "opened", claims),
        *_build_forward(table),
        *_build_prerouting(table, ruleset.tunnels),
        *_build_postrouting(table, ruleset.tunnels),
    ]


def build_removal(name: str) -> list[Expression]:
    """The transaction that removes the table; adding it first makes its absence no error."""
    table = {"family": FAMILY, "name": name}
    return [{"add": {"table": table}}, {"delete": {"table": table}}]


def _build_set(table: Mapping[str, str], name: str, devices: Mapping[Device, bool | None]) -> Expression:
    elements = [
        {"elem": {"val": device.name, "comment": build_comment(device.ifindex, host_forwarded)}}
        for device, host_forwarded in sorted(devices.items(), key=lambda item: item[0].name)
    ]
    # nft takes no empty list of elements.
    return {"add": {"set": {**table, "name": name, "type": "ifname"} | ({"elem": elements} if elements else {})}}


def _build_forward(table: Mapping[str, str]) -> list[Expression]:
    invalid = _match("ct", "state", "in", ["invalid"])
    replies = _match("ct", "state", "in", ["established", "related"])
    guard = (
        _match("meta", "nfproto", "==", "ipv4"),
        _match("meta", "iifname", "==", "@opened"),
        _match("meta", "oifname", "!=", TUNNEL_WILDCARD),
    )
    into_tunnel = _match("meta", "oifname", "==", "@tunnels")
    return [
        _chain(table, "forward", "filter", _FILTER_PRIORITY),
        _drop(table, "forward", "invalid from clients", _match("meta", "iifname", "==", "@tunnels"), invalid),
        _drop(table, "forward", "invalid to clients", into_tunnel, invalid),
        _rule(table, "forward", into_tunnel, replies, {"accept": None}),
        _rule(table, "forward", _match("meta", "oifname", "==", "@reachable"), {"accept": None}),
        _drop(table, "forward", "clients are not reachable", into_tunnel),
        _drop(table, "forward", "not a router for others", *guard),
    ]


def _build_prerouting(table: Mapping[str, str], tunnels: Iterable[TunnelRules]) -> list[Expression]:
    checks = [
        _drop(
            table,
            "prerouting",
            "client address from elsewhere",
            _match("meta", "iifname", "!=", {"set": ["lo", tunnel.device.name]}),
            _match_network("saddr", tunnel.client_range),
        )
        for tunnel in tunnels
    ]
    return [_chain(table, "prerouting", "filter", _SOURCE_CHECK_PRIORITY), *checks]


def _build_postrouting(table: Mapping[str, str], tunnels: Iterable[TunnelRules]) -> list[Expression]:
    translations = [
        _rule(
            table,
            "postrouting",
            _match_network("saddr", tunnel.client_range),
            _match("meta", "oifname", "==", route.target.interface),
            *([_match_network("daddr", route.destination)] if route.destination.prefixlen else []),
            {"masquerade": None} if route.target.nat else {"accept": None},
        )
        for tunnel in tunnels
        for route in tunnel.routes
    ]
    return [_chain(table, "postrouting", "nat", _TRANSLATION_PRIORITY), *translations]


def _chain(table: Mapping[str, str], hook: str, kind: str, priority: int) -> Expression:
    return {"add": {"chain": {**table, "name": hook, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}}}


def _rule(table: Mapping[str, str], chain: str, *expressions: Expression, comment: str | None = None) -> Expression:
    rule = {**table, "chain": chain, "expr": list(expressions)}
    return {"add": {"rule": rule | ({"comment": comment} if comment else {})}}


def _drop(table: Mapping[str, str], chain: str, why: str, *matches: Expression) -> Expression:
    counter = {"counter": {"packets": 0, "bytes": 0}}
    return _rule(table, chain, *matches, counter, {"drop": None}, comment=why)


def _match(kind: str, key: str, operator: str, value: Any) -> Expression:
    return {"match": {"op": operator, "left": {kind: {"key": key}}, "right": value}}


def _match_network(field: str, network: IPv4Network) -> Expression:
    prefix = {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}
    return {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": field}}, "right": prefix}}


_COMMENT = re.compile(r"ifindex=(?P<ifindex>[0-9]+)(?: ip_forward=(?P<host_forwarded>[01]))?")


def build_comment(ifindex: int, host_forwarded: bool | None = None) -> str:
    """An element's memory, as text: `ifindex=7`, for a claim `ifindex=3 ip_forward=0`."""
    return f"ifindex={ifindex}" + ("" if host_forwarded is None else f" ip_forward={int(host_forwarded)}")


def parse_record(listing: Iterable[Mapping[str, Any]]) -> TableRecord:
    """What a table remembers, from nft's listing of it; elements that are not ours are passed over."""
    sets = {item["set"]["name"]: item["set"].get("elem", []) for item in listing if "set" in item}
    tunnels = {device for device, _ in _parse_elements(sets.get("tunnels", []))}
    claims = {Claim(device, bool(forwarded)) for device, forwarded in _parse_elements(sets.get("opened", []))}
    return TableRecord(frozenset(tunnels), frozenset(claims))


def _parse_elements(elements: Iterable[Any]) -> Iterable[tuple[Device, bool | None]]:
    for element in elements:
        if not isinstance(element, dict):
            continue
        remembered = _COMMENT.fullmatch(element["elem"].get("comment", ""))
        if remembered is not None:
            forwarded = remembered["host_forwarded"]
            yield (
                Device(element["elem"]["val"], int(remembered["ifindex"])),
                None if forwarded is None else forwarded == "1",
            )


def _without_counts(value: Any) -> Any:
    """A listing without what changes by itself, to see whether another hand was at the table."""
    if isinstance(value, list):
        return [_without_counts(item) for item in value]
    if isinstance(value, dict):
        return {key: None if key in ("counter", "handle") else _without_counts(item) for key, item in value.items()}
    return value
