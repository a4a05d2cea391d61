from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from gateway.actions import Quotas
from gateway.store.schema import association, authorization_rule, endpoint, route, security_group, tag
from tests.unit.gateway.actions.declaration.documents import (
    LAB,
    OFFICE,
    apply,
    document,
    export,
    lines,
    plan,
)
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.harness import NOW, SETTINGS, invoke, invoke_for_audit, limited_to, refused
from tests.unit.gateway.actions.rows import add_endpoint, add_file_endpoint

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

TABLES = (endpoint, association, route, authorization_rule, security_group, tag)


def contents(store: Store) -> list[list[str]]:
    with store.read() as connection:
        return [sorted(map(repr, connection.execute(select(table)))) for table in TABLES]


def test_a_file_becomes_an_endpoint_with_all_that_it_has(world: Store, arns: Arns) -> None:
    reply = apply(world, document(declared(arns)))
    assert lines(reply) == [
        'create endpoint "staff"',
        'create endpoint "staff": target network "office"',
        'create endpoint "staff": rule that lets the group "engineering" reach 10.20.0.0/24',
    ]
    assert reply["Applied"]
    (shown,) = invoke(world, "DescribeClientVpnEndpoints")["ClientVpnEndpoints"]
    assert shown["Tags"] == [{"Key": "Name", "Value": "staff"}]
    rows = invoke(world, "DescribeClientVpnRoutes", ClientVpnEndpointId=shown["ClientVpnEndpointId"])["Routes"]
    assert [(row["DestinationCidr"], row["Origin"]) for row in rows] == [(OFFICE, "associate")]


def test_the_same_file_again_changes_nothing(world: Store, arns: Arns) -> None:
    wanted = document(declared(arns))
    apply(world, wanted)
    before = contents(world)
    again, call = invoke_for_audit(world, "ApplyConfiguration", Document=json.dumps(wanted))
    assert again["Changes"] == []
    assert not call.affects_gateways
    assert contents(world) == before


def test_a_plan_shows_what_applying_does_and_does_none_of_it(world: Store, arns: Arns) -> None:
    wanted = document(declared(arns, route=[{"destination": "10.21.0.0/16", "target": "office"}]))
    before = contents(world)
    planned = plan(world, wanted)
    assert contents(world) == before
    assert not planned["Applied"]
    applied = apply(world, wanted, ExpectedDigest=planned["Digest"])
    assert {key: planned[key] for key in ("Changes", "Access", "Sessions", "Notes", "Digest")} == {
        key: applied[key] for key in ("Changes", "Access", "Sessions", "Notes", "Digest")
    }


def test_a_plan_that_the_store_has_left_behind_is_refused(world: Store, arns: Arns) -> None:
    wanted = document(declared(arns, description="new"))
    apply(world, document(declared(arns)))
    digest = plan(world, wanted)["Digest"]
    add_endpoint(world, client_cidr_block="10.99.0.0/22", vpn_port=1194)
    with refused("IncorrectState", "has changed since"):
        apply(world, wanted, ExpectedDigest=digest)
    assert apply(world, wanted, ExpectedDigest=plan(world, wanted)["Digest"])["Applied"]


def test_a_digest_is_of_the_document_too(world: Store, arns: Arns) -> None:
    first, second = document(declared(arns)), document(declared(arns, vpn_port=1194))
    assert plan(world, first)["Digest"] == plan(world, first)["Digest"] != plan(world, second)["Digest"]
    assert plan(world, first)["Digest"] != plan(world, first, Prune=True)["Digest"]


def test_what_is_refused_names_its_line_and_undoes_all_before_it(world: Store, arns: Arns) -> None:
    wanted = document(
        declared(arns),
        declared(arns, name="guests", client_cidr_block="10.90.1.0/24", vpn_port=1194),
    )
    before = contents(world)
    with refused("InvalidParameterValue", "endpoint[1].client_cidr_block: 10.90.1.0/24 overlaps"):
        apply(world, wanted)
    assert contents(world) == before
    with refused("InvalidParameterValue", "endpoint[1].client_cidr_block"):
        plan(world, wanted)


def test_quotas_hold(world: Store, arns: Arns) -> None:
    one_rule = replace(SETTINGS, quotas=Quotas(authorization_rules_per_endpoint=1))
    rules = [{"destination": OFFICE, "group": "engineering"}, {"destination": LAB, "all": True}]
    with refused("ClientVpnAuthorizationRuleLimitExceeded", "endpoint[0].authorization_rule[1]"):
        apply(world, document(declared(arns, authorization_rule=rules)), settings=one_rule)
    with refused("ClientVpnEndpointLimitExceeded", "endpoint[0] (create endpoint"):
        add_endpoint(world)
        apply(world, document(declared(arns)), settings=replace(SETTINGS, quotas=Quotas(endpoints=1)))


def test_gateways_are_told_of_what_was_applied_and_of_no_plan(world: Store, arns: Arns) -> None:
    wanted = json.dumps(document(declared(arns)))
    _, planned = invoke_for_audit(world, "ApplyConfiguration", Document=wanted, Plan=True)
    assert not planned.affects_gateways
    applied_reply, applied = invoke_for_audit(world, "ApplyConfiguration", Document=wanted)
    assert applied.affects_gateways
    assert applied.after == applied_reply["Changes"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no JSON", "Document is no JSON"),
        ("[]", "JSON object"),
        ('{"endpoint": [{"name": "x"}]}', "endpoint[0].client_cidr_block"),
        ('{"colour": {}}', "colour: Is no key of this section"),
    ],
)
def test_a_document_that_is_none_is_refused(store: Store, text: str, sentence: str) -> None:
    with refused("InvalidParameterValue", sentence):
        invoke(store, "ApplyConfiguration", Document=text)


def test_endpoints_that_the_file_does_not_name_stay_unless_they_are_pruned(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    empty = document()
    assert apply(world, empty)["Changes"] == []
    pruned = apply(world, empty, Prune=True)
    assert lines(pruned)[0] == 'delete endpoint "staff"'
    (shown,) = invoke(world, "DescribeClientVpnEndpoints")["ClientVpnEndpoints"]
    assert shown["Status"]["Code"] == "deleting"
    assert export(world)["endpoint"] == []
    assert apply(world, empty, Prune=True)["Changes"] == []


def test_endpoints_of_a_configuration_file_are_left_alone(world: Store, arns: Arns) -> None:
    add_file_endpoint(world, name="main")
    assert apply(world, document(), Prune=True)["Changes"] == []
    assert export(world)["endpoint"] == []
    with refused("UnsupportedOperation", "endpoint[0].name: The endpoint is declared in /etc/portway/config.toml"):
        apply(world, document(declared(arns, name="main")))


def test_who_may_know_of_some_endpoints_exports_those(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    reply = invoke(world, "ExportConfiguration", caller=limited_to("cvpn-endpoint-x"))
    assert '"staff"' not in reply["Document"]


def test_what_no_declaration_can_say_is_said(world: Store) -> None:
    add_endpoint(world, settings={"from": "a later release"})
    with refused("IncorrectState", "no declaration can say"):
        invoke(world, "ExportConfiguration")


def test_objects_of_one_file_have_ages_in_its_order(world: Store, arns: Arns) -> None:
    """The oldest network decides about a destination that several lead to."""
    networks = [{"name": "lab"}, {"name": "office"}]
    apply(world, document(declared(arns, target_network=networks)))
    with world.read() as connection:
        ages = connection.execute(select(association.c.zone).order_by(association.c.created_at)).scalars().all()
        first = connection.scalar(select(func.min(association.c.created_at)))
    assert ages == ["b", "a"]
    assert first is not None
    assert 0 <= first - NOW < 1
    assert [network["name"] for network in export(world)["endpoint"][0]["target_network"]] == ["lab", "office"]
