from ipaddress import IPv4Network

import pytest
import structlog.testing
import trio
import trio.testing

from gateway.endpoint_settings import Terms
from gateway.fleet import FleetError
from policy import EndpointSpec, GatewaySpec, compare
from tests.unit.gateway.fleet_world import OpenFakePlane, fleet_world
from tests.unit.gateway.world import make_spec
from tunnel.events import CloseReason


def other_spec() -> EndpointSpec:
    return make_spec(name="other", vpn_port=444, client_cidr_block=IPv4Network("10.81.0.0/29"))


async def test_all_sockets_open_before_the_host_is_touched() -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec()), Terms.of(other_spec())])
        assert world.book == ["open 443", "open 444", "add main", "add other"]
        assert world.running == ["main", "other"]


async def test_a_taken_port_leaves_nothing_behind() -> None:
    async with fleet_world() as world:
        world.taken_ports = {444}
        with pytest.raises(FleetError, match="endpoint other: port 444 is taken"):
            await world.fleet.start([Terms.of(make_spec()), Terms.of(other_spec())])
        assert world.book == ["open 443", "close 443"]
        assert world.running == []


async def test_a_host_that_refuses_leaves_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    async with fleet_world() as world:
        world.host.refused = {"other"}
        with pytest.raises(FleetError, match="endpoint other: nft is missing"):
            await world.fleet.start([Terms.of(make_spec()), Terms.of(other_spec())])
        assert world.running == []
        assert not any(plane.is_open for plane in world.planes)
        assert world.book[-2:] == ["remove main", "close 443"]


async def test_an_endpoint_that_cannot_be_made_is_not_left_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.fleet.Endpoint", lambda *_, **__: 1 // 0)
    async with fleet_world() as world:
        with pytest.raises(FleetError, match="endpoint main: a fault in the gateway"):
            await world.fleet.start([Terms.of(make_spec())])
        assert world.book.count("add main") == world.book.count("remove main")
        assert not world.planes[0].is_open


async def test_an_endpoint_that_fails_before_it_has_begun_is_not_left_on_the_host(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def fail(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("a bug in the plane")

    monkeypatch.setattr(OpenFakePlane, "run", fail)
    async with fleet_world() as world:
        with pytest.raises(FleetError, match="endpoint main: a fault in the gateway"):
            await world.fleet.put_up(Terms.of(make_spec()))
        assert world.book == ["open 443", "add main", "remove main", "close 443"]
        monkeypatch.undo()
        await trio.sleep(2)
        assert world.running == ["main"]


async def test_stopping_goes_in_reverse() -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec())])
        await world.fleet.stop("main", CloseReason.SHUTDOWN)
        await world.fleet.stop("main", CloseReason.SHUTDOWN)
        assert world.book == ["open 443", "add main", "remove main", "close 443"]


async def test_stopping_all_stops_all() -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec()), Terms.of(other_spec())])
        await world.fleet.stop_all()
        assert world.running == []
        assert not any(plane.is_open for plane in world.planes)


async def test_an_endpoint_that_fails_is_put_up_again_and_the_other_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec()), Terms.of(other_spec())])
        healthy = world.fleet.endpoints[1]
        with structlog.testing.capture_logs() as logs:
            world.planes[0].break_down()
            await trio.sleep(5)
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["endpoint failed"]
        assert sorted(world.running) == ["main", "other"]
        assert world.fleet.endpoints[0] is healthy
        assert [plane.is_open for plane in world.planes] == [False, True, True]


async def test_an_endpoint_that_cannot_be_put_up_again_is_tried_until_it_can(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec())])
        world.taken_ports = {443}
        world.planes[0].break_down()
        await trio.sleep(100)
        assert world.running == []
        world.taken_ports = set()
        await trio.sleep(100)
        assert world.running == ["main"]


async def test_an_endpoint_that_failed_and_was_taken_away_does_not_come_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec())])
        world.taken_ports = {443}
        world.planes[0].break_down()
        await trio.sleep(10)
        assert world.fleet.spec == GatewaySpec((make_spec(),))
        await world.fleet.stop("main", CloseReason.SHUTDOWN)
        world.taken_ports = set()
        await trio.sleep(1000)
        assert world.running == []
        assert world.fleet.spec == GatewaySpec(())


async def test_an_endpoint_that_failed_comes_back_with_its_newest_spec(autojump_clock: trio.testing.MockClock) -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec())])
        world.taken_ports = {443}
        world.planes[0].break_down()
        await trio.sleep(10)
        new = make_spec(max_clients=3)
        (change,) = compare(world.fleet.spec, GatewaySpec((new,))).changed
        await world.fleet.adopt(change, Terms.of(new))
        world.taken_ports = set()
        await trio.sleep(1000)
        assert [endpoint.spec for endpoint in world.fleet.endpoints] == [new]


async def test_a_change_reaches_endpoint_and_host() -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec())])
        new = make_spec(clients_reachable=True)
        (change,) = compare(world.fleet.spec, GatewaySpec((new,))).changed
        with structlog.testing.capture_logs() as logs:
            await world.fleet.adopt(change, Terms.of(new))
        assert world.book[-1] == "update main"
        assert world.fleet.spec == GatewaySpec((new,))
        assert [entry["event"] for entry in logs] == ["target network does not work yet"]
        world.host.refused = {"main"}
        with pytest.raises(FleetError, match="nft is missing"):
            await world.fleet.adopt(change, Terms.of(new))


async def test_what_is_being_put_up_again_when_all_stops_does_not_come_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec())])
        world.host.pause_s = 10
        world.planes[0].break_down()
        await trio.sleep(5)
        assert world.book[-1] == "open 443"  # and the host is slow
        await world.fleet.stop_all()
        await trio.sleep(1000)
        assert world.running == []
        assert not any(plane.is_open for plane in world.planes)
        assert world.book.count("add main") == world.book.count("remove main")


async def test_an_endpoint_that_failed_does_not_come_back_after_all_was_stopped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with fleet_world() as world:
        await world.fleet.start([Terms.of(make_spec())])
        world.taken_ports = {443}
        world.planes[0].break_down()
        await trio.sleep(10)
        await world.fleet.stop_all()
        world.taken_ports = set()
        await trio.sleep(1000)
        assert world.running == []
