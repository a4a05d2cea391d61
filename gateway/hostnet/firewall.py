"""The daemon's own nftables table `inet portway_<daemon id>`: what it says, and keeping it so.

    forward      from a tunnel: packets that connection tracking finds invalid are dropped, others go on
                 security groups: in both directions, what their rules no longer allow (`security_groups`)
                 towards a tunnel: replies and related packets; new connections only with `clients_reachable`
                 guard: where Portway has turned forwarding on, the host routes for the tunnels and nobody else
    input        security groups, for the host's own addresses on target networks
    prerouting   a source in a client range is believed only from its tunnel, and from the host itself
    postrouting  masquerade towards target networks with `nat`, route by route; none for routed ones

Two sets carry what must survive the daemon, so that whoever finds the table can clean up: `tunnels` (the TUN
devices that it serves: none alive, and the table is garbage) and `opened` (the interfaces whose forwarding
Portway has turned on). Each element names its interface and, in its comment, which one of that name it was.

A change of rules is one transaction, so no packet meets half of it, and connections that are already tracked keep
their translation. What security groups look up is made in a transaction before it, and what nothing looks up any more
is removed in one behind it: the kernel shows elements a little later than rules. Where tunnels come and go, the table
is replaced whole. An `accept` here ends only this table's part: where another table drops forwarded
packets by policy (Docker does, many host firewalls do), the administrator has to accept `portway*` there.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.hostnet import expressions as nft
from gateway.hostnet.errors import NftablesError, NftablesTimeoutError
from gateway.hostnet.nft import FAMILY, Nft
from gateway.hostnet.records import Device
from gateway.hostnet.security_groups import GuardedTunnel, build_dispatch, build_filters, may_allow_more

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from ipaddress import IPv4Network

    from gateway.hostnet.expressions import Expression, TableKey
    from gateway.hostnet.routing import TargetRoute

__all__ = [
    "Claim",
    "Firewall",
    "Ruleset",
    "TableRecord",
    "TunnelRules",
    "build_table",
    "count_drops",
    "parse_record",
    "table_name",
]

TABLE_PREFIX = "portway_"
TUNNEL_WILDCARD = "portway*"
"""The TUN devices of every daemon: each guards its own."""

_TRANSLATION_PRIORITY = 100  # srcnat
_FILTER_PRIORITY = 0
_SOURCE_CHECK_PRIORITY = -150  # mangle: after conntrack has undone translations, before routing

_STATE = {"ct": {"key": "state"}}
_INPUT = {"meta": {"key": "iifname"}}
_OUTPUT = {"meta": {"key": "oifname"}}


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
        self._generation = 0
        self._installed: object = None
        self._in_force: dict[Device, TunnelRules] = {}
        self._drops_of_former: Counter[str] = Counter()
        self._drops: Counter[str] = Counter()

    def apply(self, ruleset: Ruleset) -> None:
        """Make the table say this; without tunnels and claims there is no table. Raises `NftablesError`."""
        if not ruleset.tunnels and not ruleset.claims:
            self.remove()
            return
        listing = _without_counts(self._list())
        is_mine = listing == self._installed
        if not is_mine:
            self._in_force = {}
        if ruleset == self._ruleset and is_mine:
            return
        if self._ruleset is not None and is_mine and _is_of_same_tunnels(self._ruleset, ruleset):
            self._change(self._ruleset, ruleset)
        else:
            self._nft.apply(build_table(self._name, ruleset, self._generation))
            self._in_force = {tunnel.device: tunnel for tunnel in ruleset.tunnels}
        self._drops_of_former, self._drops = self.drops, Counter()
        self._ruleset, self._installed = ruleset, _without_counts(self._list())

    def _change(self, old: Ruleset, new: Ruleset) -> None:
        """From one ruleset to the next, so that what both allow passes all the time."""
        former, self._generation = self._generation, 1 - self._generation
        prepare, change, clean_up = build_change(self._name, (old, former), (new, self._generation))
        try:
            self._nft.apply(prepare)
            self._nft.apply(change)
            self._in_force = {tunnel.device: tunnel for tunnel in new.tunnels}
            self._nft.apply(clean_up)
        except NftablesError as error:
            if isinstance(error, NftablesTimeoutError):
                self._in_force = {}
            with contextlib.suppress(NftablesError):
                self._installed = _without_counts(self._nft.table(self._name))
            self._drops_of_former, self._drops = self.drops, Counter()
            self._ruleset = None  # what was left half done is replaced whole
            raise

    def remove(self) -> None:
        """Remove the table; none there is no error."""
        self._in_force = {}
        self._list()
        self._drops_of_former, self._drops = self.drops, Counter()
        self._ruleset = self._installed = None
        if self._name in self._nft.table_names():
            self._nft.apply(build_removal(self._name))

    def may_allow_more(self, wanted: TunnelRules) -> bool:
        """Whether what is in force may let pass what these rules would not. So it may where that is not known."""
        former = self._in_force.get(wanted.device)
        if former is None or former.clients_reachable > wanted.clients_reachable:
            return True
        return may_allow_more(_guard(former), _guard(wanted))

    @property
    def drops(self) -> Counter[str]:
        """Packets that the table has dropped, by the comments of its rules, up to when it was last looked at.

        A table that is replaced takes along what it has counted since it was listed a moment before.
        """
        return self._drops_of_former + self._drops

    def _list(self) -> list[dict[str, Any]]:
        """The table as it is; what it has dropped is remembered."""
        listing = self._nft.table(self._name)
        self._drops = count_drops(listing) if self._ruleset is not None else Counter()
        return listing

    def claimed_by_others(self) -> frozenset[Device]:
        """The interfaces that other daemons have turned forwarding on for."""
        records = (record for name, record in read_records(self._nft).items() if name != self._name)
        return frozenset(claim.device for record in records for claim in record.claims)


def table_name(daemon_id: str) -> str:
    """The name of a daemon's table."""
    return TABLE_PREFIX + daemon_id


def read_records(nft: Nft) -> dict[str, TableRecord]:
    """What the tables of all daemons remember, by table name."""
    names = sorted(name for name in nft.table_names() if name.startswith(TABLE_PREFIX))
    return {name: parse_record(nft.table(name)) for name in names}


def build_table(name: str, ruleset: Ruleset, generation: int = 0) -> list[Expression]:
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
        *build_filters(table, _guarded(ruleset, generation)),
        *_build_base_chains(table, ruleset, generation),
    ]


def build_change(
    name: str, old: tuple[Ruleset, int], new: tuple[Ruleset, int]
) -> tuple[list[Expression], list[Expression], list[Expression]]:
    """The transactions from one ruleset to the next of another generation: prepare, change, clean up.

    Both have the same tunnels and claims.
    """
    table = {"family": FAMILY, "table": name}
    base_chains = [{**table, "name": hook} for hook in ("forward", "input", "prerouting", "postrouting")]
    had_input, has_input = (bool(_guarded(*each)) for each in (old, new))
    emptied = [chain for chain in base_chains if had_input or chain["name"] != "input"]
    gone = [chain for chain in emptied if chain["name"] == "input" and not has_input]
    return (
        list(build_filters(table, _guarded(*new))),
        [
            *({"flush": {"chain": chain}} for chain in emptied),
            *({"delete": {"chain": chain}} for chain in gone),
            *_build_base_chains(table, *new),
        ],
        list(_build_undoing(build_filters(table, _guarded(*old)))),
    )


def _build_undoing(additions: Iterable[Expression]) -> Iterable[Expression]:
    """Delete what these commands add: rules first, then maps, which name chains, and sets, which rules looked up."""
    added = [next(iter(command["add"].items())) for command in additions]
    keys = [(kind, {key: made[key] for key in ("family", "table", "name")}) for kind, made in added if kind != "rule"]
    yield from ({"flush": {"chain": key}} for kind, key in keys if kind == "chain")
    for doomed in ("map", "set", "chain"):
        yield from ({"delete": {kind: key}} for kind, key in keys if kind == doomed)


def _build_base_chains(table: TableKey, ruleset: Ruleset, generation: int) -> list[Expression]:
    guarded = _guarded(ruleset, generation)
    return [
        *_build_forward(table, guarded),
        *_build_input(table, guarded),
        *_build_prerouting(table, ruleset.tunnels),
        *_build_postrouting(table, ruleset.tunnels),
    ]


def _is_of_same_tunnels(old: Ruleset, new: Ruleset) -> bool:
    """Whether the table's own sets stay as they are."""
    known = [[(one.device, one.clients_reachable) for one in each.tunnels] for each in (old, new)]
    return known[0] == known[1] and old.claims == new.claims


def _guarded(ruleset: Ruleset, generation: int) -> list[GuardedTunnel]:
    return [each for each in (_guard(tunnel, generation) for tunnel in ruleset.tunnels) if each.is_filtered]


def _guard(tunnel: TunnelRules, generation: int = 0) -> GuardedTunnel:
    return GuardedTunnel(tunnel.device, tunnel.client_range, tunnel.routes, generation)


def build_removal(name: str) -> list[Expression]:
    """The transaction that removes the table; adding it first makes its absence no error."""
    table = {"family": FAMILY, "name": name}
    return [{"add": {"table": table}}, {"delete": {"table": table}}]


def _build_set(table: TableKey, name: str, devices: Mapping[Device, bool | None]) -> Expression:
    elements = [
        {"elem": {"val": device.name, "comment": build_comment(device.ifindex, host_forwarded)}}
        for device, host_forwarded in sorted(devices.items(), key=lambda item: item[0].name)
    ]
    # nft takes no empty list of elements.
    return {"add": {"set": {**table, "name": name, "type": "ifname"} | ({"elem": elements} if elements else {})}}


def _build_forward(table: TableKey, guarded: Sequence[GuardedTunnel]) -> list[Expression]:
    invalid = nft.match(_STATE, ["invalid"], "in")
    replies = nft.match(_STATE, ["established", "related"], "in")
    guard = (
        nft.match({"meta": {"key": "nfproto"}}, "ipv4"),
        nft.match(_INPUT, "@opened"),
        nft.match(_OUTPUT, TUNNEL_WILDCARD, "!="),
    )
    into_tunnel = nft.match(_OUTPUT, "@tunnels")
    return [
        nft.base_chain(table, "forward", "filter", _FILTER_PRIORITY),
        nft.counted_drop(table, "forward", "invalid from clients", nft.match(_INPUT, "@tunnels"), invalid),
        nft.counted_drop(table, "forward", "invalid to clients", into_tunnel, invalid),
        *build_dispatch(table, "forward", guarded),
        nft.rule(table, "forward", into_tunnel, replies, {"accept": None}),
        nft.rule(table, "forward", nft.match(_OUTPUT, "@reachable"), {"accept": None}),
        nft.counted_drop(table, "forward", "clients are not reachable", into_tunnel),
        nft.counted_drop(table, "forward", "not a router for others", *guard),
    ]


def _build_input(table: TableKey, guarded: Sequence[GuardedTunnel]) -> list[Expression]:
    if not guarded:
        return []
    return [
        nft.base_chain(table, "input", "filter", _FILTER_PRIORITY),
        *build_dispatch(table, "input", guarded),
    ]


def _build_prerouting(table: TableKey, tunnels: Iterable[TunnelRules]) -> list[Expression]:
    checks = [
        nft.counted_drop(
            table,
            "prerouting",
            "client address from elsewhere",
            nft.match(_INPUT, {"set": ["lo", tunnel.device.name]}, "!="),
            nft.match_network(nft.address("saddr"), tunnel.client_range),
        )
        for tunnel in tunnels
    ]
    return [nft.base_chain(table, "prerouting", "filter", _SOURCE_CHECK_PRIORITY), *checks]


def _build_postrouting(table: TableKey, tunnels: Iterable[TunnelRules]) -> list[Expression]:
    translations = [
        nft.rule(
            table,
            "postrouting",
            nft.match_network(nft.address("saddr"), tunnel.client_range),
            nft.match(_OUTPUT, route.target.interface),
            *([nft.match_network(nft.address("daddr"), route.destination)] if route.destination.prefixlen else []),
            {"masquerade": None} if route.target.nat else {"accept": None},
        )
        for tunnel in tunnels
        for route in tunnel.routes
    ]
    return [nft.base_chain(table, "postrouting", "nat", _TRANSLATION_PRIORITY), *translations]


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


def count_drops(listing: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """How many packets the rules of a table have dropped, by their comments."""
    drops: Counter[str] = Counter()
    for item in listing:
        rule = item.get("rule", {})
        packets = [expression["counter"]["packets"] for expression in rule.get("expr", ()) if "counter" in expression]
        if packets and "comment" in rule:
            drops[rule["comment"]] += packets[0]
    return drops


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
