from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete

from gateway.store.schema import network
from tests.unit.gateway.actions.declaration.documents import LAB, OFFICE, apply, document, export, plan
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.endpoint_calls import create
from tests.unit.gateway.actions.harness import invoke
from tests.unit.gateway.actions.rows import add_endpoint

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns


def test_an_empty_store_is_an_empty_declaration(store: Store) -> None:
    assert export(store) == {"security_group": [], "endpoint": []}


def test_an_export_says_what_does_not_go_without_saying(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    assert export(world) == {
        "security_group": [
            {"name": "default", "description": "default VPC group", "egress": [{"cidr": "0.0.0.0/0"}]},
        ],
        "endpoint": [declared(arns)],
    }


def test_an_endpoint_of_a_caller_is_exported_with_aws_s_defaults_spelt_out(world: Store, arns: Arns) -> None:
    create(world, arns, ClientCidrBlock="10.90.0.0/22")
    (endpoint,) = export(world)["endpoint"]
    assert (endpoint["transport_protocol"], endpoint["split_tunnel"]) == (["udp"], False)


def test_endpoints_and_groups_come_in_the_order_of_their_names(world: Store, arns: Arns) -> None:
    names = ["delta", "alpha", "charlie", "bravo"]
    endpoints = [
        declared(arns, name=name, client_cidr_block=f"10.9{number}.0.0/22", vpn_port=1000 + number)
        for number, name in enumerate(names)
    ]
    apply(world, document(*endpoints, groups=tuple({"name": name} for name in names)))
    exported = export(world)
    assert [endpoint["name"] for endpoint in exported["endpoint"]] == sorted(names)
    assert [group["name"] for group in exported["security_group"]] == sorted([*names, "default"])


def test_rules_come_in_the_order_of_their_destinations(world: Store, arns: Arns) -> None:
    rules = [
        {"destination": LAB, "all": True},
        {"destination": OFFICE, "group": "b"},
        {"destination": OFFICE, "group": "a"},
    ]
    apply(world, document(declared(arns, authorization_rule=rules)))
    assert export(world)["endpoint"][0]["authorization_rule"] == [rules[2], rules[1], rules[0]]


@pytest.mark.parametrize("name", ["", " blank", "two\nlines", "cvpn-endpoint-0123456789abcdef0"])
def test_a_name_that_no_file_could_have_is_a_tag_like_others(world: Store, arns: Arns, name: str) -> None:
    endpoint_id = create(world, arns, ClientCidrBlock="10.90.0.0/22")
    invoke(world, "CreateTags", Resources=[endpoint_id], Tags=[{"Key": "Name", "Value": name}])
    exported = export(world)
    assert (exported["endpoint"][0]["name"], exported["endpoint"][0]["tags"]) == (endpoint_id, {"Name": name})
    assert plan(world, exported)["Changes"] == []


def test_two_endpoints_of_one_name_go_by_their_ids(world: Store, arns: Arns) -> None:
    ids = [create(world, arns, ClientCidrBlock="10.90.0.0/22"), add_endpoint(world, vpn_port=1194)]
    invoke(world, "CreateTags", Resources=ids, Tags=[{"Key": "Name", "Value": "staff"}])
    exported = export(world)
    assert {endpoint["name"] for endpoint in exported["endpoint"]} == {
        endpoint_id for endpoint_id in ids if endpoint_id.startswith("cvpn-endpoint-")
    }


def test_a_network_that_is_no_longer_offered_stays_as_it_is(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns, route=[{"destination": "10.24.0.0/16", "target": "office"}])))
    with world.write() as connection:
        connection.execute(delete(network).where(network.c.name == "office"))
    exported = export(world)
    (target,) = exported["endpoint"][0]["target_network"]
    assert target["name"] == "subnet-00000000000000001"
    assert exported["endpoint"][0]["route"][0]["target"] == target["name"]
    assert plan(world, exported, Prune=True)["Changes"] == []
    assert apply(world, document(), Prune=True)["Changes"][0]["What"] == 'endpoint "staff"'
