"""Several gateways with one store: each serves what its own networks let it, and one says how everything fares."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.managed.declaring import declare
from gateway.managed.publishing import publish
from gateway.object_ids import endpoint_id
from gateway.store import schema
from tests.unit.gateway.managed.world import LAB, LAB_ID, OFFICE, OFFICE_ID, ManagedWorld, managed_world
from tests.unit.gateway.test_reload import main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.store import Store
    from tests.lab.config import Toml

OTHER = {"name": "other", "cidr": "10.30.0.0/24", "interface": "eth2"}
TABLES = (schema.endpoint, schema.association, schema.route, schema.authorization_rule)


@asynccontextmanager
async def gateway(
    directory: Path, store: Store, node: str, *endpoints: Toml, networks: tuple[Toml, ...], speaks: bool
) -> AsyncIterator[ManagedWorld]:
    home = directory / node
    home.mkdir()
    settings = {"state_dir": str(home / "state"), "node": node, "plane": "python"}
    async with managed_world(home, store, *endpoints, networks=networks, gateway=settings) as world:
        world.speaks = speaks
        yield world


def picture(world: ManagedWorld) -> list[dict[Any, tuple[str, str]]]:
    return [world.statuses(table) for table in TABLES]


async def test_each_serves_its_own_networks_and_statuses_stay_as_they_are(tmp_path: Path, store: Store) -> None:
    async with (
        gateway(tmp_path, store, "gw1", networks=(OFFICE,), speaks=True) as first,
        gateway(tmp_path, store, "gw2", networks=(LAB,), speaks=False) as second,
    ):
        both, far = first.create(), first.create(ClientCidrBlock="10.94.0.0/22", VpnPort=1194)
        associations = [first.associate(both), first.associate(both, LAB_ID), first.associate(far, LAB_ID)]
        first.route(both, "10.30.0.128/25", LAB_ID)
        first.authorize(far, "10.30.0.0/24")
        for world in (second, first):
            await world.round()
        assert (first.fleet.running, second.fleet.running) == ([both], [both, far])
        assert [target.name for target in first.spec(both).target_networks] == [OFFICE_ID]
        assert [target.name for target in second.spec(both).target_networks] == [LAB_ID]
        assert first.statuses(schema.association) == dict.fromkeys(associations, ("associated", ""))
        assert {status for table in TABLES for status in first.statuses(table).values()} == {
            ("available", ""),
            ("associated", ""),
            ("active", ""),
        }
        seen = picture(first)
        for world in (second, first, second, first):
            outcomes = await world.round(shows_own=True)
            assert not any(outcome.problem or outcome.failures for outcome in outcomes.values())
            assert picture(first) == seen


async def test_what_fails_on_one_that_does_not_speak_changes_no_status(tmp_path: Path, store: Store) -> None:
    async with (
        gateway(tmp_path, store, "gw1", networks=(OFFICE,), speaks=True) as first,
        gateway(tmp_path, store, "gw2", networks=(OFFICE,), speaks=False) as second,
    ):
        second.fleet.taken_ports = {443}
        association = first.associate(endpoint := first.create())
        for world in (first, second, first, second):
            outcomes = await world.round()
            assert first.statuses(schema.association) == {association: ("associated", "")}
        assert outcomes[endpoint].problem == "port 443 is taken"
        second.speaks = True
        await second.round()
        assert first.statuses(schema.association) == {association: ("association-failed", "port 443 is taken")}


async def test_a_network_that_nobody_offers_fails_wherever_one_asks(tmp_path: Path, store: Store) -> None:
    async with (
        gateway(tmp_path, store, "gw1", networks=(OFFICE,), speaks=True) as first,
        gateway(tmp_path, store, "gw2", networks=(LAB,), speaks=False) as second,
    ):
        association = first.associate(first.create(), LAB_ID)
        await second.reload(networks=(OTHER,), gateway={"state_dir": str(tmp_path / "gw2/state"), "node": "gw2"})
        await first.round()
        code, message = first.statuses(schema.association)[association]
        assert code == "association-failed"
        assert f"no network {LAB_ID}" in message


async def test_a_network_stays_for_as_long_as_one_of_those_who_have_it_offers_it(tmp_path: Path, store: Store) -> None:
    async with (
        gateway(tmp_path, store, "gw1", networks=(OFFICE,), speaks=True) as first,
        gateway(tmp_path, store, "gw2", networks=(OFFICE, LAB), speaks=False) as second,
    ):
        await second.reload(networks=(LAB,), gateway={"state_dir": str(tmp_path / "gw2/state"), "node": "gw2"})
        await first.round(shows_own=True)
        assert {row.subnet_id: row.node for row in first.rows(schema.network)} == {OFFICE_ID: "gw1", LAB_ID: "gw2"}


async def test_files_of_the_same_name_on_two_hosts_declare_endpoints_of_their_own(tmp_path: Path, store: Store) -> None:
    second = main(name="second", client_cidr_block="10.99.0.0/22")
    async with (
        gateway(tmp_path, store, "gw1", main(), networks=(OFFICE,), speaks=True) as world,
        gateway(tmp_path, store, "gw2", second, networks=(LAB,), speaks=False) as other,
    ):
        for each in (world, other, world, other):
            config = each.reconciler.config
            publish(store, declare(Path("/etc/portway/config.toml"), config, {}, (), 0.0), each.now)
            assert {row.id for row in world.rows(schema.endpoint) if row.ended_at is None} == {
                endpoint_id("main"),
                endpoint_id("second"),
            }
        places = {row.name: row.declared_in for row in world.rows(schema.endpoint)}
        assert places == {
            "main": "/etc/portway/config.toml on gw1",
            "second": "/etc/portway/config.toml on gw2",
        }
