from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actions.declaration.effects import Comparison, Reach, access_changes
from gateway.actions.endpoint_spec import endpoint_spec
from policy import LOCAL, AuthorizationRule, Route, decide
from tests.unit.gateway.actions.declaration.documents import LAB, OFFICE, apply, document, plan
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.harness import SETTINGS, invoke
from tests.unit.gateway.actions.rows import add_connection

if TYPE_CHECKING:
    from gateway.store import Store
    from policy import EndpointSpec
    from tests.unit.gateway.actions.authorities import Arns

GROUPS = ("engineering", "finance")

COLUMNS = {
    "client_cidr_block": "10.90.0.0/28",
    "transport_protocols": ["udp"],
    "vpn_port": 443,
    "dns_servers": [],
    "split_tunnel": True,
    "session_timeout_hours": 24.0,
    "settings": {},
}
NETWORKS = st.builds(
    lambda address, prefix: IPv4Network((0x0A5A0000 + address, prefix), strict=False),
    st.integers(0, 63),
    st.integers(26, 32),
)


def reach(spec: EndpointSpec | None, name: str = "staff") -> Reach:
    return Reach(name, spec, frozenset())


@st.composite
def specs(draw: st.DrawFn) -> EndpointSpec:
    routes = draw(st.lists(st.builds(Route, NETWORKS, st.sampled_from([LOCAL, "office"])), max_size=4))
    rules = draw(st.lists(st.builds(AuthorizationRule, NETWORKS, st.sampled_from([None, *GROUPS])), max_size=5))
    return replace(endpoint_spec("staff", COLUMNS, SETTINGS), routes=tuple(routes), authorization_rules=tuple(rules))


@given(specs(), specs(), st.sets(st.sampled_from(GROUPS)))
def test_what_is_gained_and_lost_is_what_the_plain_meaning_of_rules_says(
    old: EndpointSpec, new: EndpointSpec, groups: set[str]
) -> None:
    gains, losses = Comparison(reach(old), reach(new)).difference(groups)
    for number in range(0x0A5A0000, 0x0A5A0040):
        address = IPv4Address(number)
        before, after = decide(old, groups, address).allowed, decide(new, groups, address).allowed
        assert any(address in IPv4Network(network) for network in gains) == (after and not before)
        assert any(address in IPv4Network(network) for network in losses) == (before and not after)


@given(specs(), specs())
def test_every_group_for_which_something_changes_is_told_of(old: EndpointSpec, new: EndpointSpec) -> None:
    told = {change.group: change for change in access_changes({"id": reach(old)}, {"id": reach(new)})}
    comparison = Comparison(reach(old), reach(new))
    everyone = (told[None].gains, told[None].losses) if None in told else ((), ())
    assert everyone == comparison.difference(frozenset())
    for group in GROUPS:
        own = (told[group].gains, told[group].losses) if group in told else everyone
        assert own == comparison.difference({group})


def test_a_rule_that_a_longer_prefix_overrides_is_told_as_what_it_takes_away(world: Store, arns: Arns) -> None:
    everyone = {"destination": OFFICE, "all": True}
    apply(world, document(declared(arns, authorization_rule=[everyone])))
    narrow = {"destination": "10.20.0.128/25", "group": "finance"}
    planned = plan(world, document(declared(arns, authorization_rule=[everyone, narrow])))
    assert planned["Access"] == [
        {"Endpoint": "staff", "AllGroups": True, "Gains": [], "Losses": ["10.20.0.128/25"]},
        {"Endpoint": "staff", "AllGroups": False, "GroupId": "finance", "Gains": [], "Losses": []},
    ]


def test_an_endpoint_that_goes_takes_all_access_with_it(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    (lost,) = plan(world, document(), Prune=True)["Access"]
    assert (lost["GroupId"], lost["Gains"], lost["Losses"]) == ("engineering", [], [OFFICE])


def test_rules_without_a_network_give_nothing(world: Store, arns: Arns) -> None:
    assert plan(world, document(declared(arns, target_network=[])))["Access"] == []


def connect(store: Store, name: str, *groups: str, **values: Any) -> None:
    (endpoint,) = invoke(store, "DescribeClientVpnEndpoints")["ClientVpnEndpoints"]
    add_connection(
        store,
        f"cvpn-connection-{name}",
        endpoint_id=endpoint["ClientVpnEndpointId"],
        common_name=name,
        groups=list(groups),
        **values,
    )


def noticed(reply: dict[str, Any]) -> dict[str, list[str]]:
    return {session["CommonName"]: session["Effects"] for session in reply["Sessions"]}


@pytest.mark.parametrize(
    ("changes", "effects"),
    [
        ({"description": "another"}, []),
        ({"max_clients": 7}, []),
        ({"authorization_rule": []}, ["access changes"]),
        ({"authorization_rule": [{"destination": OFFICE, "all": True}]}, []),
        ({"vpn_port": 1194}, ["reconnects", "needs a new profile"]),
        ({"transport_protocol": ["tcp"]}, ["reconnects", "needs a new profile"]),
        ({"transport_protocol": ["udp"]}, ["reconnects"]),
        ({"control_channel": {"accept": ["none"]}}, ["needs a new profile"]),
        ({"client_cidr_block": "10.91.0.0/22"}, ["reconnects"]),
        ({"dns_servers": ["10.20.0.53"]}, ["reconnects"]),
        ({"route": [{"destination": "10.24.0.0/16", "target": "office"}]}, ["reconnects"]),
        ({"split_tunnel": False, "authorization_rule": []}, ["reconnects", "access changes"]),
        ({"security_groups": ["web"]}, ["security groups change"]),
        ({"target_network": []}, ["is cut off"]),
    ],
)
def test_who_is_connected_is_told_of_by_what_they_notice(
    world: Store, arns: Arns, changes: dict[str, Any], effects: list[str]
) -> None:
    apply(world, document(declared(arns), groups=({"name": "web"},)))
    connect(world, "ana", "engineering")
    connect(world, "gone", "engineering", ended_at=1.0)
    planned = plan(world, document(declared(arns, **changes)))
    assert noticed(planned).get("ana", []) == effects
    assert "gone" not in noticed(planned)


def test_what_changes_for_a_session_follows_from_all_of_its_groups(world: Store, arns: Arns) -> None:
    networks = [{"name": "office"}, {"name": "lab"}]
    rules = [{"destination": OFFICE, "group": "engineering"}, {"destination": LAB, "group": "finance"}]
    apply(world, document(declared(arns, target_network=networks, authorization_rule=rules)))
    connect(world, "ana", "engineering", "finance")
    connect(world, "ben", "engineering")
    connect(world, "eve")
    planned = plan(world, document(declared(arns, target_network=networks, authorization_rule=rules[:1])))
    (ana,) = planned["Sessions"]
    assert (ana["CommonName"], ana["Effects"], ana["Gains"], ana["Losses"]) == ("ana", ["access changes"], [], [LAB])
