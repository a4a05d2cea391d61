"""Rows that no caller can write: each fails by itself, and nobody gets anywhere because of it."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from gateway.managed.last_known import LastKnown
from gateway.store import schema
from policy import Verdict, decide
from tests.unit.gateway.managed.test_security_groups import HTTPS, apply, make_group, others
from tests.unit.gateway.managed.world import managed_world

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Table

    from gateway.store import Store
    from tests.unit.gateway.managed.world import ManagedWorld

OFFICE_CIDR = "10.20.0.0/24"
VAULT = "10.20.0.7"


def spoil(store: Store, table: Table, column: str, former: object, value: object) -> None:
    """As another hand in the database does."""
    with store.write() as connection:
        connection.execute(table.update().where(table.c[column] == former).values({column: value}))


def verdict(world: ManagedWorld, endpoint_id: str, address: str, *groups: str) -> Verdict:
    return decide(world.spec(endpoint_id), frozenset(groups), IPv4Address(address))


def sentences(outcomes: dict[str, Any], endpoint_id: str) -> list[str]:
    return list(outcomes[endpoint_id].failures.values())


async def begin(world: ManagedWorld) -> str:
    """An endpoint that lets everybody into the office, but only one group to one host there."""
    endpoint_id = world.create()
    world.associate(endpoint_id)
    world.authorize(endpoint_id, OFFICE_CIDR)
    world.authorize(endpoint_id, f"{VAULT}/32", "operations")
    await world.round()
    assert verdict(world, endpoint_id, VAULT, "operations") is Verdict.FORWARD
    assert verdict(world, endpoint_id, VAULT) is Verdict.NO_RULE
    return endpoint_id


async def test_what_is_revoked_is_revoked_beside_a_column_that_cannot_be_read(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = await begin(world)
        with store.write() as connection:
            connection.execute(schema.endpoint.update().values(dns_servers=["somewhere"]))
        world.revoke(endpoint_id, OFFICE_CIDR)
        outcomes = await world.round()
        assert "Its row cannot be read" in outcomes[endpoint_id].problem
        assert verdict(world, endpoint_id, "10.20.0.8") is Verdict.NO_RULE


@pytest.mark.parametrize("text", [f"{VAULT}/33", f"{VAULT}/24x", f" {VAULT}/32", f"{VAULT}/-1", f"{VAULT}/x"])
async def test_a_rule_that_cannot_be_read_lets_nobody_where_only_some_could_go(
    tmp_path: Path, store: Store, text: str
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = await begin(world)
        spoil(store, schema.authorization_rule, "destination_cidr", f"{VAULT}/32", text)
        outcomes = await world.round()
        for groups in ((), ("operations",)):
            assert verdict(world, endpoint_id, VAULT, *groups) is Verdict.NO_RULE
        assert verdict(world, endpoint_id, "10.20.0.8") is Verdict.FORWARD
        code, message = world.statuses(schema.authorization_rule)[text]
        assert (code, f"{text!r} is no network" in message) == ("failed", True)
        assert world.statuses(schema.authorization_rule)[OFFICE_CIDR] == ("active", "")
        assert sentences(outcomes, endpoint_id) == [message]


async def test_a_rule_with_bits_beyond_its_prefix_may_mean_a_network_or_a_host_and_both_stay_closed(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = await begin(world)
        spoil(store, schema.authorization_rule, "destination_cidr", f"{VAULT}/32", f"{VAULT}/28")
        await world.round()
        assert verdict(world, endpoint_id, VAULT, "operations") is Verdict.NO_RULE
        assert verdict(world, endpoint_id, "10.20.0.14") is Verdict.NO_RULE
        assert verdict(world, endpoint_id, "10.20.0.16") is Verdict.FORWARD


async def test_a_rule_of_which_nothing_can_be_made_out_fails_alone(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = await begin(world)
        spoil(store, schema.authorization_rule, "destination_cidr", OFFICE_CIDR, "everywhere")
        await world.round()
        assert world.statuses(schema.authorization_rule)["everywhere"][0] == "failed"
        assert verdict(world, endpoint_id, VAULT, "operations") is Verdict.FORWARD
        assert verdict(world, endpoint_id, "10.20.0.8") is Verdict.NO_RULE


async def test_what_cannot_be_read_fails_although_nothing_runs_and_goes_when_it_is_to_go(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.authorize(endpoint_id, OFFICE_CIDR)
        spoil(store, schema.authorization_rule, "destination_cidr", OFFICE_CIDR, "everywhere")
        await world.round()
        assert world.statuses(schema.authorization_rule)["everywhere"][0] == "failed"
        spoil(store, schema.authorization_rule, "status_code", "failed", "revoking")
        await world.round()
        assert world.rows(schema.authorization_rule) == []


async def test_equal_rules_in_two_writings_are_one(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = await begin(world)
        world.authorize(endpoint_id, "10.20.0.0/25")
        spoil(store, schema.authorization_rule, "destination_cidr", "10.20.0.0/25", "10.20.0.0/255.255.255.0")
        await world.round()
        assert {code for code, _ in world.statuses(schema.authorization_rule).values()} == {"active"}
        assert verdict(world, endpoint_id, "10.20.0.8") is Verdict.FORWARD


async def test_a_route_that_cannot_be_read_fails_alone(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = await begin(world)
        world.route(endpoint_id, "10.40.0.0/16")
        world.authorize(endpoint_id, "10.40.0.0/16")
        await world.round()
        spoil(store, schema.route, "destination_cidr", "10.40.0.0/16", "10.40.0.0/61")
        await world.round()
        code, message = world.statuses(schema.route)["10.40.0.0/61"]
        assert (code, "is no network" in message) == ("failed", True)
        assert world.statuses(schema.route)[OFFICE_CIDR] == ("active", "")
        assert verdict(world, endpoint_id, "10.40.0.1") is Verdict.NO_ROUTE


@pytest.mark.parametrize(
    ("column", "former", "value"),
    [
        ("cidr", OFFICE_CIDR, "10.20.0.0/24/24"),
        ("protocol", "tcp", "tpc"),
        ("from_port", 443, 444),
        ("to_port", 443, 70_000),
    ],
)
async def test_a_security_group_s_rule_that_is_none_fails_alone(
    tmp_path: Path, store: Store, column: str, former: object, value: object
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = await begin(world)
        group_id = make_group(world, "web")
        ping = {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "10.20.0.0/25"}]}
        world.call("AuthorizeSecurityGroupEgress", GroupId=group_id, IpPermissions=[HTTPS, ping])
        apply(world, endpoint_id, group_id)
        await world.round()
        spoil(store, schema.security_group_rule, column, former, value)
        outcomes = await world.round()
        (target,) = world.spec(endpoint_id).target_networks
        assert others(target, group_id) == ["10.20.0.0/25"]
        assert {code for code, _ in world.statuses(schema.association).values()} == {"associated"}
        (sentence,) = sentences(outcomes, endpoint_id)
        assert group_id in sentence


async def test_without_security_groups_nothing_passes_where_every_network_has_some(
    tmp_path: Path, store: Store
) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = await begin(world)
        with store.write() as connection:
            connection.execute(schema.association_security_group.delete())
        await world.round()
        ((code, message),) = world.statuses(schema.association).values()
        assert (code, "has no security groups" in message) == ("association-failed", True)
        assert world.fleet.running == []
        group_id = make_group(world, "web")
        apply(world, endpoint_id, group_id)
        await world.round()
        assert world.fleet.running == [endpoint_id]


async def test_what_is_unreadable_is_kept_for_when_the_store_is_away(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = await begin(world)
        spoil(store, schema.authorization_rule, "destination_cidr", f"{VAULT}/32", f"{VAULT}/33")
        await world.round()
        kept = LastKnown(tmp_path / "state", store.vault).read()
        await world.controller.carry_out(kept)
        assert verdict(world, endpoint_id, VAULT, "operations") is Verdict.NO_RULE
