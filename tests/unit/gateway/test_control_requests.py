import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.control_requests import ControlRequests
from gateway.control_socket import ControlError
from gateway.endpoint_settings import Terms
from gateway.fleet import FleetError
from gateway.object_ids import endpoint_id
from gateway.reload import ConfigRefused
from tests.unit.gateway.daemon_facts import daemon_facts
from tests.unit.gateway.fleet_world import FleetWorld, fleet_world
from tests.unit.gateway.world import World, make_spec, pki


async def reload() -> tuple[str, ...]:
    return ("Nothing has changed.",)


async def refuse() -> tuple[str, ...]:
    raise ConfigRefused(("one thing is wrong", "another too"))


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[ControlRequests, World, FleetWorld]]:
    """A fleet with one endpoint, and simulated clients for it."""
    async with fleet_world() as fleet:
        await fleet.fleet.start([Terms.of(make_spec())])
        world = World()
        world.endpoint = fleet.fleet.endpoints[0]
        world.endpoint._keeper._now = world.endpoint._now = lambda: world.now
        world.plane = fleet.planes[0]
        world.log = fleet.log
        yield ControlRequests(fleet.fleet, fleet.log, reload, daemon_facts), world, fleet


async def ask(requests: ControlRequests, **request: Any) -> Any:
    """The answer, as it is after its way through JSON."""
    return json.loads(json.dumps(await requests.handle(request)))


async def test_status_tells_of_endpoints_pool_drops_and_ends() -> None:
    async with serving() as (requests, world, _):
        world.connect()
        status = await ask(requests, request="status")
    assert status["version"] == "1"
    (endpoint,) = status["endpoints"]
    assert endpoint["sessions"] == 1
    assert endpoint["pool"] == {"network": "10.80.0.0/29", "used": 1, "capacity": 5}
    assert endpoint["half_open"] == {"now": 0, "limit": 1000}
    assert endpoint["drops"] == {"no-rule": 3}
    assert endpoint["listeners"] == ["udp 0.0.0.0 port 443", "tcp 0.0.0.0 port 443"]
    assert {expiry["urgency"] for expiry in endpoint["expiries"]} == {"none"}


async def test_status_tells_what_ought_to_run_and_does_not() -> None:
    async with serving() as (requests, _, fleet):
        fleet.taken_ports = {444}
        with pytest.raises(FleetError):
            await fleet.fleet.put_up(Terms.of(make_spec(name="other", vpn_port=444)))
        status = await ask(requests, request="status")
    assert status["down"] == {"other": "endpoint other: port 444 is taken"}


async def test_connections_lists_who_is_connected() -> None:
    async with serving() as (requests, world, _):
        world.connect()
        world.plane.peers[0].traffic.ingress_bytes = 42
        (connection,) = await ask(requests, request="connections")
    expected = {
        "endpoint": "main",
        "common_name": "ana",
        "groups": ["engineering"],
        "status": "active",
        "client_ip": "10.80.0.2",
        "device_ip": "198.51.100.7",
        "ingress_bytes": 42,
        "client_version": "2.6.14",
        "cipher": "AES-256-GCM",
        "tls_version": "TLSv1.3",
    }
    assert connection.items() >= expected.items()


async def test_terminate_ends_one_by_id_or_all_of_a_user() -> None:
    async with serving() as (requests, world, _):
        world.connect()
        world.connect(pki().client("bob"))
        first = (await ask(requests, request="connections"))[0]["id"]
        assert await ask(requests, request="terminate", id=first) == [first]
        assert len(await ask(requests, request="terminate", user="bob")) == 1
        assert await ask(requests, request="connections") == []
        with pytest.raises(ControlError, match="bob has no session"):
            await ask(requests, request="terminate", user="bob")
        with pytest.raises(ControlError, match="either its id or its user"):
            await ask(requests, request="terminate")


async def test_explain_answers_for_a_session_and_for_groups() -> None:
    async with serving() as (requests, world, _):
        world.connect()
        session = (await ask(requests, request="connections"))[0]["id"]
        allowed = await ask(requests, request="explain", id=session, destination="10.20.0.9", port=443, protocol="tcp")
        denied = await ask(requests, request="explain", groups=["sales"], destination="10.20.0.9")
        by_id = {"groups": ["sales"], "endpoint": endpoint_id("main")}
        assert await ask(requests, request="explain", destination="10.20.0.9", **by_id) == denied
        with pytest.raises(ControlError, match="There is no session nobody"):
            await ask(requests, request="explain", id="nobody", destination="10.20.0.9")
        with pytest.raises(ControlError, match='There is no endpoint "else"'):
            await ask(requests, request="explain", groups=[], endpoint="else", destination="10.20.0.9")
        with pytest.raises(ControlError, match="whose packet"):
            await ask(requests, request="explain", destination="10.20.0.9")
    assert (allowed["allowed"], allowed["verdict"]) == (True, "forward")
    assert "10.80.0.2" in allowed["text"]
    assert (denied["allowed"], denied["verdict"]) == (False, "no_rule")


async def test_reload_says_what_became_of_it() -> None:
    async with serving() as (requests, _, fleet):
        assert await ask(requests, request="reload") == ["Nothing has changed."]
        refusing = ControlRequests(fleet.fleet, fleet.log, refuse, daemon_facts)
        with pytest.raises(ControlError, match="one thing is wrong\nanother too"):
            await ask(refusing, request="reload")


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"request": "nonsense"},
        {"request": "terminate", "ids": "x"},
        {"request": "terminate", "id": 7},
        {"request": "explain", "groups": [], "destination": "nowhere"},
        {"request": "explain", "groups": [], "destination": "10.20.0.9", "port": 70000},
    ],
)
async def test_a_request_that_is_not_understood_is_refused(request_: dict[str, Any]) -> None:
    async with serving() as (requests, _, _):
        with pytest.raises(ControlError, match="not understood"):
            await requests.handle(request_)


async def test_status_tells_what_is_wrong() -> None:
    async with serving() as (requests, world, _):
        for name in ("ana", "bob", "eve", "joe", "sue"):
            world.connect(pki().client(name))
        (condition,) = (await ask(requests, request="status"))["health"]
    assert (condition["code"], condition["severity"], condition["subject"]) == ("pool-exhausted", "error", "main")
    assert condition["explanation"] == "All 5 addresses of 10.80.0.0/29 are in use: new clients are refused."


async def test_metrics_are_the_status_with_what_is_counted() -> None:
    async with serving() as (requests, world, _):
        world.connect()
        world.plane.peers[0].traffic.egress_bytes = 700
        world.endpoint.peer_exited(0)
        world.connect(pki().client("bob"))
        world.plane.peers[0].traffic.egress_bytes = 30
        world.client(pki().client("eve")).step()
        document = await ask(requests, request="metrics")
    assert document["endpoints"][0]["name"] == "main"
    measures = document["measures"]["main"]
    assert (measures["established"], measures["ended"], measures["failed"]) == (2, {"client-exit": 1}, {})
    assert measures["moved"]["egress_bytes"] == 730
    assert sum(measures["handshakes"]["authentication"]["took_s"]["counts"]) == 2
