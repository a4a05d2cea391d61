from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.hostnet.firewall import (
    Claim,
    Firewall,
    Ruleset,
    TableRecord,
    TunnelRules,
    build_table,
    parse_record,
    table_name,
)
from gateway.hostnet.nft import Nft
from gateway.hostnet.records import Device
from gateway.hostnet.routing import target_routes
from tests.unit.gateway.hostnet.hosts import LAB, OFFICE, make_spec

TUN = Device("portway0", 7)
CLAIM = Claim(Device("eth1", 3), host_forwarded=False)


def tunnel(*, reachable: bool = False) -> TunnelRules:
    routes = target_routes(make_spec("main", OFFICE, LAB))
    return TunnelRules(TUN, IPv4Network("10.80.0.0/22"), reachable, routes)


class RecordingNft(Nft):
    """Holds one table as a listing, and counts transactions."""

    def __init__(self) -> None:
        self.transactions: list[Any] = []
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def apply(self, commands: Any) -> None:
        self.transactions.append(commands)
        for command in commands:
            if "delete" in command:
                self.tables.pop(command["delete"]["table"]["name"], None)
            else:
                ((kind, item),) = command["add"].items()
                name = item["name"] if kind == "table" else item["table"]
                self.tables.setdefault(name, []).append({kind: {**item, "handle": len(self.transactions)}})

    def table_names(self) -> set[str]:
        return set(self.tables)

    def table(self, name: str) -> list[dict[str, Any]]:
        return self.tables.get(name, [])


def test_the_table_is_replaced_in_one_transaction() -> None:
    commands = build_table("portway_a", Ruleset((tunnel(),), frozenset({CLAIM})))
    assert [next(iter(command)) for command in commands[:3]] == ["add", "delete", "add"]
    assert all("add" in command for command in commands[2:])


def test_counters_that_move_are_no_reason_to_write_the_table_again() -> None:
    nft = RecordingNft()
    firewall = Firewall(nft, "a")
    ruleset = Ruleset((tunnel(),), frozenset())
    firewall.apply(ruleset)
    counters = [
        expression
        for item in nft.tables["portway_a"]
        for expression in item.get("rule", {}).get("expr", [])
        if "counter" in expression
    ]
    assert counters
    for expression in counters:
        expression["counter"] = {"packets": 99, "bytes": 9900}
    firewall.apply(ruleset)
    assert len(nft.transactions) == 1


def count(nft: RecordingNft, packets: int) -> None:
    """Let every drop rule of the table drop so many packets."""
    for item in nft.tables["portway_a"]:
        for expression in item.get("rule", {}).get("expr", []):
            if "counter" in expression:
                expression["counter"] = {"packets": packets, "bytes": 0}


def test_what_was_dropped_is_known_by_its_cause_and_outlives_the_table_that_counted_it() -> None:
    nft = RecordingNft()
    firewall = Firewall(nft, "a")
    before, after = Ruleset((tunnel(),), frozenset()), Ruleset((tunnel(reachable=True),), frozenset())
    firewall.apply(before)
    assert not firewall.drops
    count(nft, 3)
    firewall.apply(before)
    assert firewall.drops["client address from elsewhere"] == 3
    count(nft, 5)
    firewall.apply(after)
    assert firewall.drops["client address from elsewhere"] == 5
    count(nft, 2)
    firewall.apply(after)
    assert firewall.drops["client address from elsewhere"] == 7
    firewall.remove()
    assert firewall.drops["client address from elsewhere"] == 7


def test_what_a_former_daemon_s_table_has_counted_is_not_this_one_s() -> None:
    nft = RecordingNft()
    Firewall(nft, "a").apply(Ruleset((tunnel(),), frozenset()))
    count(nft, 3)
    firewall = Firewall(nft, "a")
    firewall.apply(Ruleset((tunnel(),), frozenset()))
    assert not firewall.drops


def test_a_rule_that_another_hand_has_added_is_removed() -> None:
    nft = RecordingNft()
    firewall = Firewall(nft, "a")
    ruleset = Ruleset((tunnel(),), frozenset())
    firewall.apply(ruleset)
    nft.tables["portway_a"].append({"rule": {"expr": [{"accept": None}]}})
    firewall.apply(ruleset)
    assert {"rule": {"expr": [{"accept": None}]}} not in nft.tables["portway_a"]


def test_a_table_that_another_hand_has_removed_is_written_again() -> None:
    nft = RecordingNft()
    firewall = Firewall(nft, "a")
    ruleset = Ruleset((tunnel(),), frozenset())
    firewall.apply(ruleset)
    written = nft.tables.pop("portway_a")
    firewall.apply(ruleset)
    assert len(nft.tables["portway_a"]) == len(written)


def test_nothing_to_say_leaves_no_table() -> None:
    nft = RecordingNft()
    firewall = Firewall(nft, "a")
    firewall.apply(Ruleset((tunnel(),), frozenset()))
    firewall.apply(Ruleset((), frozenset()))
    assert nft.tables == {}


def test_only_others_claims_are_foreign() -> None:
    nft = RecordingNft()
    Firewall(nft, "a").apply(Ruleset((tunnel(),), frozenset({CLAIM})))
    assert Firewall(nft, "a").claimed_by_others() == frozenset()
    assert Firewall(nft, "b").claimed_by_others() == {CLAIM.device}


names = st.from_regex(r"[a-z][a-z0-9._-]{0,14}", fullmatch=True)
devices = st.builds(Device, names, st.integers(1, 2**31 - 1))
claims = st.builds(Claim, devices, st.booleans())


@given(
    st.lists(devices, unique_by=lambda device: device.name, max_size=5),
    st.lists(claims, unique_by=lambda claim: claim.device.name, max_size=5),
)
def test_what_a_table_remembers_is_read_back_from_it(tunnels: list[Device], claimed: list[Claim]) -> None:
    rules = tuple(TunnelRules(device, IPv4Network("10.80.0.0/22"), False, ()) for device in tunnels)
    nft = RecordingNft()
    nft.apply(build_table(table_name("a"), Ruleset(rules, frozenset(claimed))))
    assert parse_record(nft.table("portway_a")) == TableRecord(frozenset(tunnels), frozenset(claimed))


def test_elements_of_another_hand_are_passed_over() -> None:
    strange = ["eth3", {"elem": {"val": "eth4"}}, {"elem": {"val": "eth5", "comment": "mine"}}]
    listing: list[dict[str, Any]] = [
        {"set": {"name": "opened", "elem": strange}},
        {"set": {"name": "tunnels"}},
        {"chain": {"name": "x"}},
    ]
    assert parse_record(listing) == TableRecord(frozenset(), frozenset())
