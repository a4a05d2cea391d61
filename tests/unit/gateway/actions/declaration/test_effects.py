from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.gateway.actions.declaration.documents import LAB, OFFICE, apply, document, plan
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.harness import NOW, invoke
from tests.unit.gateway.actions.rows import add_connection

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns


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


def test_who_has_been_there_for_longer_than_a_new_duration_is_told_of(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    connect(world, "ana", "engineering", established_at=NOW - 9 * 3600)
    connect(world, "ben", "engineering", established_at=NOW - 7 * 3600)
    shorter = document(declared(arns, session_timeout_hours=8))
    assert noticed(plan(world, shorter)) == {"ana": ["has lasted too long"]}
    assert noticed(plan(world, document(declared(arns, disconnect_on_session_timeout=False)))) == {}


def test_a_session_that_outlived_its_endpoint_s_networks_is_not_told_of_again(world: Store, arns: Arns) -> None:
    idle = declared(arns, target_network=[])
    apply(world, document(idle))
    connect(world, "ana", "engineering")
    assert plan(world, document(idle | {"description": "idle"}))["Sessions"] == []


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
