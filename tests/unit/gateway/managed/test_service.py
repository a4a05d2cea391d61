from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing
import trio

from gateway.config import load_config
from gateway.hostnet import HostProblem
from gateway.managed import ManagedService, rounds, service
from gateway.managed.last_known import FILE_NAME
from gateway.reload import Reconciler, prepare
from gateway.store import StoreUnavailableError, open_store, schema
from tests.unit.gateway.fleet_world import fleet_world
from tests.unit.gateway.managed.rows import ended, established
from tests.unit.gateway.managed.world import OFFICE_ID, ManagedWorld
from tests.unit.gateway.store.test_lease import ON_A_SERVER, end_sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gateway.store import Store
    from tests.unit.gateway.stores import StoreSite

WITHIN_S = 10.0


class ServiceWorld(ManagedWorld):
    """A managed world whose rounds are the service's own."""

    service: ManagedService

    async def until(self, happened: Callable[[], object], what: str) -> None:
        with trio.move_on_after(WITHIN_S):
            while not await trio.to_thread.run_sync(happened):  # noqa: ASYNC110 - nobody tells of what is written
                await trio.sleep(0.02)
            return
        pytest.fail(f"{what} has not happened; {self.service.status()}")


@asynccontextmanager
async def serving(directory: Path, site: StoreSite, store: Store) -> AsyncIterator[ServiceWorld]:
    """A service that runs; it opens a store of its own."""
    async with fleet_world() as fleet, trio.open_nursery() as nursery:
        world = ServiceWorld(directory, store, fleet)
        world.write(store={"url": site.url, "key_file": str(site.key_file)})
        file = directory / "config.toml"
        config = load_config(file)
        await prepare(config, fleet.host)
        reconciler = Reconciler(file, config, fleet.fleet, fleet.host)
        world.service = ManagedService(file, reconciler, fleet.fleet, fleet.log)
        nursery.start_soon(world.service.run)
        with trio.fail_after(WITHIN_S):
            await world.service.settled.wait()
        yield world
        nursery.cancel_scope.cancel()


def away(*_: object) -> Any:
    raise StoreUnavailableError("the database does not answer: it is away")


async def test_a_change_in_the_store_is_carried_out(tmp_path: Path, store_site: StoreSite, store: Store) -> None:
    async with serving(tmp_path, store_site, store) as world:
        assert world.service.status()["problem"] == ""
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        await world.until(
            lambda: world.statuses(schema.association) == {association_id: ("associated", "")}, "the association"
        )
        assert world.fleet.running == [endpoint_id]
        assert world.service.status()["endpoints"] == {endpoint_id: []}
        world.authorize(endpoint_id)
        await world.until(lambda: world.spec(endpoint_id).authorization_rules, "the rule")


async def test_what_the_host_lacks_is_told_at_once(tmp_path: Path, store_site: StoreSite, store: Store) -> None:
    async with serving(tmp_path, store_site, store) as world:
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        await world.until(lambda: world.statuses(schema.association)[association_id][0] == "associated", "association")
        world.service.note_host_problems((HostProblem(endpoint_id, OFFICE_ID, "eth1 is down"),))
        failed = {association_id: ("association-failed", "eth1 is down")}
        await world.until(lambda: world.statuses(schema.association) == failed, "the failure")
        assert world.service.status()["endpoints"] == {endpoint_id: ["eth1 is down"]}


async def test_what_has_failed_is_tried_again_when_the_host_changes(
    tmp_path: Path, store_site: StoreSite, store: Store
) -> None:
    async with serving(tmp_path, store_site, store) as world:
        world.fleet.taken_ports = {443}
        endpoint_id = world.create()
        association_id = world.associate(endpoint_id)
        failed = {association_id: ("association-failed", "port 443 is taken")}
        await world.until(lambda: world.statuses(schema.association) == failed, "the failure")
        world.fleet.taken_ports = set()
        world.service.note_host_change()
        await world.until(
            lambda: world.statuses(schema.association)[association_id][0] == "associated", "the second try"
        )


async def test_a_gateway_whose_place_is_taken_does_nothing_until_it_is_free(
    tmp_path: Path, store_site: StoreSite, store: Store
) -> None:
    lease = store.lease("lab")
    async with serving(tmp_path, store_site, store) as world:
        assert "works from" in world.service.refusal
        assert world.service.status()["problem"] == world.service.refusal
        assert world.rows(schema.gateway_node) == []
        lease.close()
        await world.until(lambda: world.service.status()["problem"] == "", "its turn")
        assert len(world.rows(schema.gateway_node)) == 1


@ON_A_SERVER
async def test_a_gateway_that_loses_its_place_takes_it_again_and_nothing_stops(
    tmp_path: Path, store_site: StoreSite, store: Store
) -> None:
    async with serving(tmp_path, store_site, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.until(lambda: world.fleet.running, "the endpoint")
        endpoint = world.fleet.fleet.endpoints[0]
        end_sessions(store_site)
        world.authorize(endpoint_id)
        await world.until(lambda: world.statuses(schema.authorization_rule)["10.20.0.0/24"][0] == "active", "the rule")
        assert world.service.refusal == ""
        assert world.fleet.fleet.endpoints == (endpoint,)


@ON_A_SERVER
async def test_a_gateway_that_loses_its_place_goes_on_with_what_runs_and_not_with_what_it_kept(
    tmp_path: Path, store_site: StoreSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    file = tmp_path / "state" / FILE_NAME
    async with serving(tmp_path, store_site, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.until(lambda: world.statuses(schema.endpoint)[endpoint_id][0] == "available", "the endpoint")
        endpoint = world.fleet.fleet.endpoints[0]
        asked = 0

        def away_and_counted(*_: object) -> Any:
            nonlocal asked
            asked += 1
            away()

        file.unlink()
        with monkeypatch.context() as patches:
            patches.setattr(service, "open_store", away_and_counted)
            end_sessions(store_site)
            await world.until(lambda: asked > 2, "several tries")
            assert world.fleet.fleet.endpoints == (endpoint,)
        world.authorize(endpoint_id)
        await world.until(lambda: endpoint.spec.authorization_rules, "catching up")


async def test_a_port_that_becomes_free_is_had_without_anything_else_happening(
    tmp_path: Path, store_site: StoreSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    async with serving(tmp_path, store_site, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.until(lambda: world.fleet.running, "the endpoint")
        world.fleet.taken_ports = {1194}
        world.modify(endpoint_id, VpnPort=1194)
        taken = ("available", "port 1194 is taken")
        await world.until(lambda: world.statuses(schema.endpoint)[endpoint_id] == taken, "the sentence")
        told = {endpoint_id: ["port 1194 is taken"]}
        await world.until(lambda: world.service.status()["endpoints"] == told, "the same in the status")
        assert world.spec(endpoint_id).vpn_port == 443
        world.fleet.taken_ports = set()
        await world.until(lambda: [one.spec.vpn_port for one in world.fleet.fleet.endpoints] == [1194], "the change")
        await world.until(lambda: world.statuses(schema.endpoint)[endpoint_id] == ("available", ""), "the status")


async def test_while_the_store_is_away_at_the_start_what_was_last_known_runs(
    tmp_path: Path, store_site: StoreSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, store_site, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        world.authorize(endpoint_id)
        await world.until(lambda: world.statuses(schema.authorization_rule)["10.20.0.0/24"][0] == "active", "the rule")
        await world.until((tmp_path / "state" / FILE_NAME).exists, "the file")
        spec = world.spec(endpoint_id)
    monkeypatch.setattr(service, "RETRY_MOST_S", 0.1)
    monkeypatch.setattr(service, "open_store", away)
    async with serving(tmp_path, store_site, store) as world:
        assert world.spec(endpoint_id) == spec
        assert "it is away" in world.service.status()["problem"]
        world.revoke(endpoint_id)
        monkeypatch.setattr(service, "open_store", open_store)
        await world.until(lambda: world.spec(endpoint_id).authorization_rules == (), "catching up")
        await world.until(lambda: world.rows(schema.authorization_rule) == [], "the status")
        assert world.service.status()["problem"] == ""


async def test_a_store_that_goes_away_is_noted_once_and_nothing_stops(
    tmp_path: Path, store_site: StoreSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    async with serving(tmp_path, store_site, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.until(lambda: world.fleet.running, "the endpoint")
        endpoint = world.fleet.fleet.endpoints[0]
        rounds_gone = 0

        def away_and_counted(*_: object) -> Any:
            nonlocal rounds_gone
            rounds_gone += 1
            away()

        with monkeypatch.context() as patches, structlog.testing.capture_logs() as log:
            patches.setattr(rounds, "read_snapshot", away_and_counted)
            world.authorize(endpoint_id)
            await world.until(lambda: rounds_gone > 3, "several rounds")
            assert "it is away" in world.service.status()["problem"]
        assert len([entry for entry in log if "cannot be used" in entry["event"]]) == 1
        await world.until(lambda: endpoint.spec.authorization_rules, "catching up")
        assert world.fleet.fleet.endpoints == (endpoint,)


async def test_a_round_that_fails_is_logged_once_and_ends_nothing(
    tmp_path: Path, store_site: StoreSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    async with serving(tmp_path, store_site, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        await world.until(lambda: world.fleet.running, "the endpoint")
        rounds_gone = 0

        def fail(*_: object) -> Any:
            nonlocal rounds_gone
            rounds_gone += 1
            raise ValueError("nobody thought of this")

        with monkeypatch.context() as patches, structlog.testing.capture_logs() as log:
            patches.setattr(rounds, "read_snapshot", fail)
            world.authorize(endpoint_id)
            await world.until(lambda: rounds_gone > 3, "several rounds")
            assert "fault" in world.service.status()["problem"]
            assert world.fleet.running == [endpoint_id]
        assert [entry["event"] for entry in log].count("a round has failed") == 1
        await world.until(lambda: world.spec(endpoint_id).authorization_rules, "catching up")
        await world.until(lambda: world.service.status()["problem"] == "", "the end of the fault")


async def test_what_happens_before_the_store_is_there_is_written_later(
    tmp_path: Path, store_site: StoreSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, store_site, store) as world:
        endpoint_id = world.create()
    monkeypatch.setattr(service, "open_store", away)
    async with serving(tmp_path, store_site, store) as world:
        record = established(endpoint_id=endpoint_id)
        world.fleet.log.write(record)
        world.fleet.log.write(ended(record, record.updated_at + 60))
        monkeypatch.setattr(service, "open_store", open_store)
        await world.until(lambda: world.rows(schema.connection_event), "the record")
    assert [row.id for row in world.rows(schema.connection)] == [record.connection_id]


async def test_a_key_that_is_not_the_store_s_is_a_sentence_in_the_status(
    tmp_path: Path, store_site: StoreSite, store: Store
) -> None:
    store_site.key_file.write_bytes(b"no key")
    async with serving(tmp_path, store_site, store) as world:
        assert str(store_site.key_file) in world.service.status()["problem"]


async def test_a_missing_key_is_not_made_anew_beside_a_database_that_another_one_has_sealed(
    tmp_path: Path, store_site: StoreSite, store: Store
) -> None:
    store_site.key_file.unlink()
    async with serving(tmp_path, store_site, store) as world:
        assert "is missing" in world.service.status()["problem"]
    assert not store_site.key_file.exists()


async def test_how_old_that_is_which_stands_in_for_the_store_is_in_the_status(
    tmp_path: Path, store_site: StoreSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state" / FILE_NAME
    async with serving(tmp_path, store_site, store) as world:
        world.create()
        await world.until(file.exists, "the file")
        assert world.service.status()["last_known"] == {"problem": "", "as_of": None}
    os.utime(file, (1_780_315_200.0, 1_780_315_200.0))
    monkeypatch.setattr(service, "open_store", away)
    async with serving(tmp_path, store_site, store) as world:
        assert world.service.status()["last_known"] == {"problem": "", "as_of": "2026-06-01T12:00:00+00:00"}
