from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hostnet.errors import NftablesError, NftablesTimeoutError
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
from policy import SecurityGroup, SecurityGroupRule
from tests.unit.gateway.hostnet.hosts import LAB, OFFICE, make_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self.is_broken = False
        self.is_slow = False

    def apply(self, commands: Any) -> None:
        if self.is_broken:
            raise NftablesError("nftables refuses a transaction: no reason given")
        if self.is_slow:
            raise NftablesTimeoutError("nft has not ended within 10 s")
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


def test_what_was_dropped_outlives_a_change_that_fails() -> None:
    nft = RecordingNft()
    firewall = Firewall(nft, "a")
    firewall.apply(Ruleset((guarded(WEB),), frozenset()))
    count(nft, 3)
    nft.is_broken = True
    with pytest.raises(NftablesError):
        firewall.apply(Ruleset((guarded(group(80)),), frozenset()))
    nft.is_broken = False
    firewall.apply(Ruleset((guarded(group(80)),), frozenset()))
    assert firewall.drops["client address from elsewhere"] == 3


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


def group(*ports: int, ingress: tuple[int, ...] = ()) -> SecurityGroup:
    def rules(numbers: Sequence[int]) -> tuple[SecurityGroupRule, ...]:
        return tuple(SecurityGroupRule(f"sgr-{port}", "tcp", port, port, OFFICE.cidr) for port in numbers)

    return SecurityGroup("sg-1", "web", egress=rules(ports), ingress=rules(ingress))


def guarded(
    *groups: SecurityGroup | None, reachable: bool = False, nat: bool = False, interface: str = OFFICE.interface
) -> TunnelRules:
    """A tunnel to the office, with these groups; with None without."""
    known = None if None in groups else tuple(filter(None, groups))
    office = replace(OFFICE, nat=nat, interface=interface, security_groups=known)
    return TunnelRules(TUN, IPv4Network("10.80.0.0/22"), reachable, target_routes(make_spec("main", office)))


WEB = group(80, 443)


@pytest.mark.parametrize(
    ("former", "wanted", "may"),
    [
        (guarded(WEB), guarded(WEB), False),
        (guarded(WEB), guarded(group(80, 443, 22)), False),
        (guarded(WEB), guarded(None), False),
        (guarded(WEB), guarded(WEB, nat=True), False),
        (guarded(WEB), guarded(WEB, reachable=True), False),
        (guarded(None), tunnel(), False),
        (guarded(WEB), guarded(group(80)), True),
        (guarded(WEB), guarded(), True),
        (guarded(None), guarded(WEB), True),
        (guarded(group(80, ingress=(22,))), guarded(group(80)), True),
        (guarded(WEB, reachable=True), guarded(WEB), True),
        (guarded(WEB), guarded(WEB, interface="eth9"), True),
        (tunnel(), guarded(WEB), True),
    ],
)
def test_it_is_known_when_former_rules_allow_more_than_wanted_ones(
    former: TunnelRules, wanted: TunnelRules, may: bool
) -> None:
    firewall = Firewall(RecordingNft(), "a")
    assert firewall.may_allow_more(wanted)
    firewall.apply(Ruleset((former,), frozenset()))
    assert firewall.may_allow_more(wanted) is may


def test_what_another_hand_has_made_of_a_table_may_allow_anything() -> None:
    nft = RecordingNft()
    firewall, ruleset = Firewall(nft, "a"), Ruleset((guarded(WEB),), frozenset())
    firewall.apply(ruleset)
    nft.tables.clear()
    nft.is_broken = True
    with pytest.raises(NftablesError):
        firewall.apply(ruleset)
    assert firewall.may_allow_more(guarded(WEB))
    nft.is_broken = False
    firewall.apply(ruleset)
    assert not firewall.may_allow_more(guarded(WEB))


def test_after_a_transaction_without_an_end_anything_may_be_allowed() -> None:
    nft = RecordingNft()
    firewall = Firewall(nft, "a")
    firewall.apply(Ruleset((guarded(WEB),), frozenset()))
    nft.is_slow = True
    with pytest.raises(NftablesTimeoutError):
        firewall.apply(Ruleset((guarded(group(80)),), frozenset()))
    assert firewall.may_allow_more(guarded(WEB))
    nft.is_slow = False
    firewall.apply(Ruleset((guarded(WEB),), frozenset()))
    assert not firewall.may_allow_more(guarded(WEB))


def test_rules_that_are_refused_leave_the_former_ones_known() -> None:
    nft = RecordingNft()
    firewall = Firewall(nft, "a")
    firewall.apply(Ruleset((guarded(WEB),), frozenset()))
    nft.is_broken = True
    with pytest.raises(NftablesError):
        firewall.apply(Ruleset((guarded(group(80)),), frozenset()))
    assert firewall.may_allow_more(guarded(group(80)))
    assert not firewall.may_allow_more(guarded(WEB))
