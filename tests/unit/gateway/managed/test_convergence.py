"""Whatever happens in whatever order, wherever the daemon is killed: what runs and what stands in the store agree."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.actions import ActionError
from gateway.managed import rounds
from gateway.store import schema
from tests.unit.gateway.managed.world import LAB, LAB_ID, OFFICE, OFFICE_ID, ManagedWorld, managed_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.store import Store
    from policy import EndpointSpec
    from tests.unit.gateway.stores import StoreTemplates

SETTLED = {"available", "pending-associate", "deleted", "associated", "disassociated", "active"}


class Killed(Exception):  # noqa: N818 - it is what happens, and no error
    """The daemon is gone."""


def running(world: ManagedWorld) -> dict[str, EndpointSpec]:
    return {endpoint.name: endpoint for endpoint in world.reconciler.managed}


def state(world: ManagedWorld) -> dict[str, Any]:
    """What callers see, but for times."""
    tables = (schema.endpoint, schema.association, schema.route, schema.authorization_rule)
    return {table.name: sorted(shown(row._asdict()) for row in world.rows(table)) for table in tables}


def shown(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in sorted(row.items()) if not name.endswith("_at")]


def codes(world: ManagedWorld) -> set[str]:
    return {dict(row)["status_code"] for rows in state(world).values() for row in rows}


# Killed between any two steps


def creation(world: ManagedWorld, endpoint_id: str) -> None:
    world.associate(endpoint_id)
    world.route(endpoint_id, "192.168.0.0/16")
    world.authorize(endpoint_id)


def change(world: ManagedWorld, endpoint_id: str) -> None:
    world.revoke(endpoint_id)
    world.delete_route(endpoint_id, "192.168.0.0/16")
    world.authorize(endpoint_id, group="engineering")
    world.associate(endpoint_id, LAB_ID)
    world.modify(endpoint_id, VpnPort=1194, DnsServers={"CustomDnsServers": ["10.20.0.53"], "Enabled": True})


def removal(world: ManagedWorld, endpoint_id: str) -> None:
    for row in world.rows(schema.association):
        world.disassociate(endpoint_id, row.id)


def deletion(world: ManagedWorld, endpoint_id: str) -> None:
    with world.store.write() as connection:
        connection.execute(schema.association.update().values(status_code="disassociated", ended_at=world.now))
    world.delete(endpoint_id)


LIFE = (creation, change, removal, deletion)


def kill_before(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(rounds, name, killed)


def kill_after(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    work = getattr(rounds, name)

    def killed(*arguments: object, **named: object) -> None:
        work(*arguments, **named)
        raise Killed

    monkeypatch.setattr(rounds, name, killed)


STEPS = ("read_snapshot", "declare", "publish", "write_changes")
KILLS = {f"{kill.__name__} {step}": (kill, step) for step in STEPS for kill in (kill_before, kill_after)}


def kill_while_put_up(monkeypatch: pytest.MonkeyPatch, world: ManagedWorld) -> None:
    def killed(*_: object) -> None:
        raise Killed

    for work in ("put_up", "stop", "adopt", "start"):
        monkeypatch.setattr(world.fleet.fleet, work, killed)


def kill_while_kept(monkeypatch: pytest.MonkeyPatch, world: ManagedWorld) -> None:
    def killed(_: object) -> None:
        raise Killed

    monkeypatch.setattr(world.last_known, "keep", killed)


async def live(directory: Path, store: Store, life: tuple[Callable[[ManagedWorld, str], None], ...]) -> str:
    """An endpoint that has lived so far."""
    async with managed_world(directory, store) as world:
        endpoint_id = world.create()
        await world.round()
        for chapter in life:
            chapter(world, endpoint_id)
            await world.round()
        return endpoint_id


async def die(
    directory: Path,
    store: Store,
    endpoint_id: str,
    chapter: Callable[[ManagedWorld, str], None],
    kill: Callable[[ManagedWorld], None],
) -> None:
    """A daemon that is killed while it carries out the next chapter."""
    async with managed_world(directory, store) as world:
        await world.round()
        chapter(world, endpoint_id)
        kill(world)
        with suppress(Killed):
            await world.round(shows_own=True)


async def check_that_it_converges(directory: Path, store: Store, endpoint_id: str, chapter: object) -> None:
    async with managed_world(directory, store) as world:
        await world.round()
        seen = state(world)
        assert codes(world) <= SETTLED
        assert set(running(world)) == (set() if chapter in {removal, deletion} else {endpoint_id})
        if chapter is change:
            assert [target.name for target in running(world)[endpoint_id].target_networks] == [OFFICE_ID, LAB_ID]
            assert [rule.group for rule in running(world)[endpoint_id].authorization_rules] == ["engineering"]
        assert len(world.rows(schema.usage)) == {creation: 1, change: 2, removal: 2, deletion: 2}[chapter]  # type: ignore[index]
        await world.round()
        assert state(world) == seen


@pytest.mark.parametrize("chapter", LIFE, ids=lambda chapter: chapter.__name__)
@pytest.mark.parametrize("kill", KILLS)
async def test_killed_at_any_step_with_the_store_the_next_daemon_converges(
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    chapter: Callable[[ManagedWorld, str], None],
    kill: str,
) -> None:
    work, step = KILLS[kill]
    endpoint_id = await live(tmp_path, store, LIFE[: LIFE.index(chapter)])
    with monkeypatch.context() as patches:
        await die(tmp_path, store, endpoint_id, chapter, lambda _: work(patches, step))
    await check_that_it_converges(tmp_path, store, endpoint_id, chapter)


@pytest.mark.parametrize("chapter", LIFE, ids=lambda chapter: chapter.__name__)
@pytest.mark.parametrize("kill", [kill_while_put_up, kill_while_kept])
async def test_killed_while_it_changes_what_runs_the_next_daemon_converges(
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    chapter: Callable[[ManagedWorld, str], None],
    kill: Callable[[pytest.MonkeyPatch, ManagedWorld], None],
) -> None:
    endpoint_id = await live(tmp_path, store, LIFE[: LIFE.index(chapter)])
    with monkeypatch.context() as patches:
        await die(tmp_path, store, endpoint_id, chapter, lambda world: kill(patches, world))
    await check_that_it_converges(tmp_path, store, endpoint_id, chapter)


# In any order

ENDPOINTS = st.sampled_from([0, 0, 1, 2])
SUBNETS = st.sampled_from([OFFICE_ID, LAB_ID])
CIDRS = st.sampled_from(["10.20.0.0/24", "192.168.0.0/16", "10.0.0.0/8"])
GROUPS = st.sampled_from(["", "engineering"])
STEP = st.one_of(
    st.tuples(st.just("create"), ENDPOINTS),
    st.tuples(st.just("associate"), ENDPOINTS, SUBNETS),
    st.tuples(st.just("disassociate"), ENDPOINTS, SUBNETS),
    st.tuples(st.just("authorize"), ENDPOINTS, CIDRS, GROUPS),
    st.tuples(st.just("revoke"), ENDPOINTS, CIDRS, GROUPS),
    st.tuples(st.just("route"), ENDPOINTS, CIDRS, SUBNETS),
    st.tuples(st.just("delete_route"), ENDPOINTS, CIDRS, SUBNETS),
    st.tuples(st.just("modify"), ENDPOINTS, st.sampled_from([443, 1194])),
    st.tuples(st.just("delete"), ENDPOINTS),
    st.tuples(st.just("round")),
    st.tuples(st.just("interrupted"), st.sampled_from(list(KILLS))),
    st.tuples(st.just("reload"), st.booleans()),
)


BEGINNING = (
    ("create", 0),
    ("create", 1),
    *(("associate", number, subnet) for number in (0, 1) for subnet in (OFFICE_ID, LAB_ID)),
    *(("route", number, "192.168.0.0/16", OFFICE_ID) for number in (0, 1)),
    ("authorize", 0, "10.20.0.0/24", ""),
    ("round",),
)
"""Something to change."""


class Caller:
    """Carries out steps; what the API refuses does not happen, and what is interrupted happens in part."""

    def __init__(self, world: ManagedWorld) -> None:
        self.world = world
        self.ids: dict[int, str] = {}

    async def take(self, step: tuple[Any, ...]) -> None:
        name, *rest = step
        if name == "round":
            await self.world.round()
        elif name == "interrupted":
            kill, at = KILLS[rest[0]]
            with pytest.MonkeyPatch.context() as patches, suppress(Killed):
                kill(patches, at)
                await self.world.round(shows_own=True)
        elif name == "reload":
            await self.world.reload(networks=(OFFICE, LAB) if rest[0] else (OFFICE,))
        else:
            with suppress(ActionError, KeyError, StopIteration):
                self.ask(name, *rest)

    def ask(self, name: str, number: int, *rest: Any) -> None:
        world = self.world
        if name == "create":
            self.ids[number] = world.create(ClientCidrBlock=f"10.{90 + number}.0.0/22", VpnPort=443 if number else 1194)
        elif name == "disassociate":
            alive = [row for row in world.rows(schema.association) if row.ended_at is None]
            found = next(row.id for row in alive if (row.endpoint_id, row.subnet_id) == (self.ids[number], rest[0]))
            world.disassociate(self.ids[number], found)
        elif name == "modify":
            world.modify(self.ids[number], VpnPort=rest[0])
        else:
            getattr(world, name)(self.ids[number], *rest)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEP, min_size=10, max_size=40))
async def test_any_sequence_of_changes_ends_where_a_fresh_start_does(
    steps: list[tuple[Any, ...]], store_templates: StoreTemplates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("convergence")
    store = store_templates.migrated("sqlite", directory).open()
    try:
        async with managed_world(directory, store) as world:
            caller = Caller(world)
            for step in (*BEGINNING, *steps):
                await caller.take(step)
            await world.reload()
            await world.round()
            seen, specs = state(world), running(world)
            assert codes(world) <= SETTLED
        async with managed_world(directory, store) as fresh:
            assert running(fresh) == specs
            assert state(fresh) == seen
    finally:
        store.close()
