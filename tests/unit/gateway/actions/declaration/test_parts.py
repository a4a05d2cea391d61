from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.gateway.actions.declaration.documents import LAB, OFFICE, apply, details, document, export, lines, plan
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.harness import invoke, refused
from tests.unit.gateway.actions.rows import add_network

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

FAR = {"destination": "10.24.0.0/16", "target": "office"}
BOTH = [{"name": "office"}, {"name": "lab"}]


def endpoint_id(store: Store) -> str:
    (endpoint,) = invoke(store, "DescribeClientVpnEndpoints")["ClientVpnEndpoints"]
    return str(endpoint["ClientVpnEndpointId"])


def listed(store: Store, what: str, member: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = invoke(store, f"DescribeClientVpn{what}", ClientVpnEndpointId=endpoint_id(store))[
        member
    ]
    return found


def test_routes_and_rules_are_exactly_those_of_the_file(world: Store, arns: Arns) -> None:
    rules = [{"destination": OFFICE, "group": "engineering"}, {"destination": OFFICE, "all": True}]
    apply(world, document(declared(arns, route=[FAR], authorization_rule=rules)))
    local = {"destination": "10.90.0.0/22", "target": "local", "description": "among us"}
    reply = apply(world, document(declared(arns, route=[local], authorization_rule=rules[1:])))
    assert lines(reply) == [
        'delete endpoint "staff": rule that lets the group "engineering" reach 10.20.0.0/24',
        'delete endpoint "staff": route to 10.24.0.0/16 through "office"',
        'create endpoint "staff": route to 10.90.0.0/22 from client to client',
    ]
    routes = {row["DestinationCidr"]: row["Status"]["Code"] for row in listed(world, "Routes", "Routes")}
    assert routes == {OFFICE: "creating", "10.24.0.0/16": "deleting", "10.90.0.0/22": "creating"}


def test_what_is_being_deleted_is_made_anew(world: Store, arns: Arns) -> None:
    with_route = document(declared(arns, route=[FAR]))
    apply(world, with_route)
    apply(world, document(declared(arns)))
    apply(world, with_route)
    routes = {row["DestinationCidr"]: row["Status"]["Code"] for row in listed(world, "Routes", "Routes")}
    assert routes["10.24.0.0/16"] == "creating"


def test_another_description_is_one_change(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns, route=[FAR])))
    rule = {"destination": OFFICE, "group": "engineering", "description": "On call"}
    wanted = document(declared(arns, route=[FAR | {"description": "far"}], authorization_rule=[rule]))
    reply = apply(world, wanted)
    assert lines(reply) == [
        'modify endpoint "staff": route to 10.24.0.0/16 through "office"',
        'modify endpoint "staff": rule that lets the group "engineering" reach 10.20.0.0/24',
    ]
    assert reply["Access"] == []
    assert plan(world, wanted)["Changes"] == []


def test_the_route_that_comes_with_a_network_may_be_named(world: Store, arns: Arns) -> None:
    named = {"destination": OFFICE, "target": "office", "description": "ours"}
    reply = apply(world, document(declared(arns, route=[named])))
    assert not any("route" in line for line in lines(reply))
    assert "route" not in export(world)["endpoint"][0]


def test_networks_come_and_go_with_their_routes(world: Store, arns: Arns) -> None:
    behind_lab = {"destination": "10.40.0.0/16", "target": "lab"}
    apply(world, document(declared(arns, target_network=BOTH, route=[behind_lab])))
    reply = apply(world, document(declared(arns)))
    assert lines(reply) == [
        'delete endpoint "staff": route to 10.40.0.0/16 through "lab"',
        'delete endpoint "staff": target network "lab"',
    ]
    statuses = {
        one["TargetNetworkId"]: one["Status"]["Code"]
        for one in listed(world, "TargetNetworks", "ClientVpnTargetNetworks")
    }
    assert sorted(statuses.values()) == ["associating", "disassociating"]
    assert lines(apply(world, document(declared(arns, target_network=BOTH)))) == [
        'create endpoint "staff": target network "lab"'
    ]


def test_networks_have_the_groups_of_the_endpoint_or_their_own(world: Store, arns: Arns) -> None:
    groups = ({"name": "web"}, {"name": "db"})
    networks = [{"name": "office"}, {"name": "lab", "security_groups": ["db", "web"]}]
    wanted = document(declared(arns, target_network=networks, security_groups=["web"]), groups=groups)
    apply(world, wanted)
    ids = {one["GroupId"]: one["GroupName"] for one in invoke(world, "DescribeSecurityGroups")["SecurityGroups"]}
    carried = {
        one["TargetNetworkId"][-1]: [ids[group_id] for group_id in one["SecurityGroups"]]
        for one in listed(world, "TargetNetworks", "ClientVpnTargetNetworks")
    }
    assert carried == {"1": ["web"], "2": ["db", "web"]}
    assert plan(world, wanted)["Changes"] == []
    reply = apply(world, document(declared(arns, target_network=BOTH), groups=groups))
    assert details(reply, 'endpoint "staff": target network "lab"') == {"security_groups": ("db, web", "default")}
    assert details(reply, 'endpoint "staff"') == {"security_groups": ('["web"]', None)}
    assert plan(world, document(declared(arns, target_network=BOTH), groups=groups))["Changes"] == []


@pytest.mark.parametrize(
    ("key", "said"), [("interface", "eth9"), ("cidr", LAB), ("nat", False), ("gateway", "10.20.0.9")]
)
def test_what_is_said_of_a_network_has_to_be_true(world: Store, arns: Arns, key: str, said: object) -> None:
    with refused("InvalidParameterValue", f"endpoint[0].target_network[0].{key}: "):
        apply(world, document(declared(arns, target_network=[{"name": "office", key: said}])))


def test_all_that_is_true_may_be_said(world: Store, arns: Arns) -> None:
    facts = {"interface": "eth1", "cidr": OFFICE, "nat": True, "gateway": "10.20.0.1"}
    assert apply(world, document(declared(arns, target_network=[{"name": "office"} | facts])))["Applied"]


def test_a_network_that_no_host_offers_is_refused(world: Store, arns: Arns) -> None:
    with refused("InvalidSubnetID.NotFound", 'No host offers a network "attic". There are: "lab", "office"'):
        apply(world, document(declared(arns, target_network=[{"name": "attic"}])))


def test_networks_of_two_vpcs_are_refused(world: Store, arns: Arns) -> None:
    add_network(world, "subnet-3", name="attic", cidr="10.60.0.0/24", vpc_id="vpc-2", vpc_name="other", zone="c")
    networks = [{"name": "office"}, {"name": "attic"}]
    with refused("InvalidClientVpnSubnetId.NotFound", "endpoint[0].target_network[1]"):
        apply(world, document(declared(arns, target_network=networks)))


def test_a_route_leads_to_a_network_of_the_endpoint(world: Store, arns: Arns) -> None:
    route = {"destination": "10.40.0.0/16", "target": "lab"}
    with refused("InvalidParameterValue", 'endpoint[0].route[0].target: "lab" is no target network of the endpoint'):
        apply(world, document(declared(arns, route=[route])))
