from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from gateway.config import GatewaySettings, load_config
from gateway.fleet import FleetError
from gateway.reload import ConfigRefused, Reconciler, prepare
from tests.lab.config import build_toml, endpoint, gateway_config, rule
from tests.unit.gateway.fleet_world import FleetWorld, fleet_world
from tests.unit.gateway.world import pki


def main(**changes: Any) -> dict[str, Any]:
    networks = [{"name": "office", "interface": "eth1", "cidr": "10.20.0.0/24"}]
    routes = [{"destination": "10.20.0.0/24", "target": "office"}]
    rules = [rule("10.20.0.0/24", "engineering")]
    return endpoint(**{"target_network": networks, "route": routes, "authorization_rule": rules} | changes)


def other(**changes: Any) -> dict[str, Any]:
    return main(name="other", vpn_port=444, client_cidr_block="10.84.0.0/22", **changes)


class Running:
    """A fleet that runs by a file."""

    def __init__(self, directory: Path, world: FleetWorld) -> None:
        self.world = world
        self._directory = directory
        self._file = directory / "config.toml"
        (directory / "pki").symlink_to(pki().path)

    async def start(self, *endpoints: dict[str, Any]) -> None:
        self.write(*endpoints)
        config = load_config(self._file)
        terms = await prepare(config, self.world.host)
        await self.world.fleet.start(tuple(terms.values()))
        self.adopted: list[GatewaySettings] = []
        self._reconciler = Reconciler(self._file, config, self.world.fleet, self.world.host, self.adopted.append)

    def write(self, *endpoints: dict[str, Any], **sections: Any) -> None:
        self._file.write_text(build_toml(gateway_config(self._directory / "state", *endpoints) | sections))

    async def reload(self, *endpoints: dict[str, Any], **sections: Any) -> tuple[str, ...]:
        self.write(*endpoints, **sections)
        self.world.book.clear()
        return await self._reconciler.reload()

    async def reload_or_hear_why_not(self) -> None:
        with pytest.raises(ConfigRefused, match="stops"):
            await self._reconciler.reload()


@asynccontextmanager
async def running(directory: Path, *endpoints: dict[str, Any]) -> AsyncIterator[Running]:
    async with fleet_world() as world:
        gateway = Running(directory, world)
        await gateway.start(*endpoints)
        yield gateway


async def test_the_same_file_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, main()) as gateway:
        assert await gateway.reload(main()) == ("Nothing has changed.",)
        assert gateway.world.book == []


async def test_endpoints_come_and_go(tmp_path: Path) -> None:
    async with running(tmp_path, main()) as gateway:
        assert await gateway.reload(other()) == ("Endpoint main was removed.", "Endpoint other was added.")
        assert gateway.world.running == ["other"]
        assert gateway.world.book == ["remove main", "close 443", "open 444", "add other"]


async def test_log_groups_come_change_and_go(tmp_path: Path) -> None:
    audit = {"name": "audit", "file": "audit.log"}
    async with running(tmp_path, main()) as it:
        assert await it.reload(main(), log_group=[audit]) == ("Log group audit was added.",)
        said = await it.reload(main(connection_log={"group": "audit"}), log_group=[audit | {"journal": True}])
        assert said == (
            "Endpoint main was changed in place: connection_log.",
            "Log group audit was changed.",
        )
        with pytest.raises(ConfigRefused, match=r"endpoint\[0\].connection_log.group .*no log group"):
            await it.reload(main(connection_log={"group": "audit"}))
        assert await it.reload(main(connection_log={"enabled": False})) == (
            "Endpoint main was changed in place: connection_log.",
            "Log group audit was removed.",
        )
        assert it.world.book == []
        groups = [list(settings.log_groups) for settings in it.adopted]
        assert groups == [["default", "audit"], ["default", "audit"], ["default"]]


async def test_changed_rules_are_applied_in_place(tmp_path: Path) -> None:
    async with running(tmp_path, main()) as gateway:
        before = gateway.world.fleet.endpoints
        said = await gateway.reload(main(authorization_rule=[rule("10.20.0.0/24")]))
        assert said == ("Endpoint main was changed in place: authorization_rules.",)
        assert gateway.world.fleet.endpoints == before
        assert gateway.world.fleet.spec.endpoints[0].authorization_rules[0].group is None
        assert gateway.world.book == []


async def test_new_sockets_mean_a_restart_of_one_endpoint(tmp_path: Path) -> None:
    async with running(tmp_path, main(), other()) as gateway:
        said = await gateway.reload(main(vpn_port=1443), other())
        assert said == ("Endpoint main was restarted with vpn_port. Its clients reconnect.",)
        assert gateway.world.book == ["remove main", "close 443", "open 1443", "add main"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"client_cidr_block": "10.20.0.0/22"}, "10.20.0.0"),
        ({"vpn_port": "https"}, "vpn_port"),
        ({"server_certificate": "pki/ca.crt"}, "server_certificate"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_a_file_that_does_not_pass_changes_nothing(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    async with running(tmp_path, main(), other()) as gateway:
        before = gateway.world.fleet.spec
        with pytest.raises(ConfigRefused, match=sentence):
            await gateway.reload(main(**changes), other(authorization_rule=[rule("10.20.0.0/24")]))
        assert gateway.world.fleet.spec == before
        assert gateway.world.book == []


async def test_what_is_wrong_names_its_endpoint(tmp_path: Path) -> None:
    async with running(tmp_path, main(), other()) as gateway:
        with pytest.raises(ConfigRefused, match=r'^endpoint\[1\][^ ]* \(endpoint "other"\): '):
            await gateway.reload(main(), other() | {"client_cidr_block": "10.20.0.0/22"})


async def test_a_restart_that_fails_goes_back_to_what_worked(tmp_path: Path) -> None:
    async with running(tmp_path, main()) as gateway:
        gateway.world.taken_ports = {1443}
        with pytest.raises(FleetError, match="port 1443 is taken"):
            await gateway.reload(main(vpn_port=1443))
        assert gateway.world.running == ["main"]
        assert gateway.world.fleet.spec.endpoints[0].vpn_port == 443
        gateway.world.taken_ports = set()
        await gateway.reload(main(vpn_port=1443))
        assert gateway.world.fleet.spec.endpoints[0].vpn_port == 1443


async def test_a_new_endpoint_that_cannot_be_put_up_does_not_hinder_the_rest(tmp_path: Path) -> None:
    async with running(tmp_path, main()) as gateway:
        gateway.world.taken_ports = {444}
        with pytest.raises(FleetError, match="port 444 is taken"):
            await gateway.reload(main(authorization_rule=[rule("10.20.0.0/24")]), other())
        assert gateway.world.fleet.spec.endpoints[0].authorization_rules[0].group is None
        gateway.world.taken_ports = set()
        assert await gateway.reload(main(authorization_rule=[rule("10.20.0.0/24")]), other()) == (
            "Endpoint other was down, and runs again.",
        )


async def test_an_endpoint_that_could_not_be_put_up_comes_by_itself_when_it_can(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path, main()) as gateway:
        gateway.world.taken_ports = {444}
        with pytest.raises(FleetError, match="port 444 is taken"):
            await gateway.reload(main(), other())
        gateway.world.taken_ports = set()
        await trio.sleep(2)
        assert gateway.world.running == ["main", "other"]


async def test_a_restart_whose_new_and_old_form_both_fail_is_tried_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path, main()) as gateway:
        gateway.world.taken_ports = {443, 1443}
        with pytest.raises(FleetError, match="port 1443 is taken\nendpoint main: port 443 is taken"):
            await gateway.reload(main(vpn_port=1443))
        assert gateway.world.fleet.down == {"main": "endpoint main: port 1443 is taken"}
        gateway.world.taken_ports = {443}
        await trio.sleep(2)
        assert gateway.world.running == ["main"]
        assert gateway.world.fleet.spec.endpoints[0].vpn_port == 1443
        assert gateway.world.fleet.down == {}


async def test_a_reload_tries_what_is_down_at_once_and_says_whether_it_came(tmp_path: Path) -> None:
    async with running(tmp_path, main()) as gateway:
        gateway.world.taken_ports = {443, 1443}
        for _ in range(2):
            with pytest.raises(FleetError, match="port 1443 is taken"):
                await gateway.reload(main(vpn_port=1443))
        gateway.world.taken_ports = set()
        assert await gateway.reload(main(vpn_port=1443)) == ("Endpoint main was down, and runs again.",)
        assert gateway.world.running == ["main"]


async def test_an_endpoint_that_is_down_and_no_longer_wanted_stays_down(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path, main()) as gateway:
        gateway.world.taken_ports = {444}
        with pytest.raises(FleetError):
            await gateway.reload(main(), other())
        await gateway.reload(main())
        gateway.world.taken_ports = set()
        await trio.sleep(200)
        assert gateway.world.running == ["main"]


async def test_what_openssl_does_not_take_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    async with fleet_world() as world:
        gateway = Running(tmp_path, world)
        gateway.write(main())
        config = load_config(tmp_path / "config.toml")
        spec = config.spec
        broken = replace(
            spec.endpoints[0], server_certificate=replace(spec.endpoints[0].server_certificate, private_key=b"none")
        )
        with pytest.raises(ConfigRefused, match="endpoint main: The certificate and its key"):
            await prepare(replace(config, spec=replace(spec, endpoints=(broken,))), world.host)


async def test_a_gateway_that_stops_finishes_a_reload_first_and_begins_no_other(tmp_path: Path) -> None:
    async with running(tmp_path, main()) as gateway, trio.open_nursery() as nursery:
        gateway.write(main(), other())
        gateway.world.host.pause_s = 0.1
        gateway.world.host.asked_to_add = trio.Event()
        nursery.start_soon(gateway._reconciler.reload)
        await gateway.world.host.asked_to_add.wait()
        nursery.start_soon(gateway.reload_or_hear_why_not)
        await gateway.world.fleet.stop_all()
        await gateway.reload_or_hear_why_not()
        assert gateway.world.running == []
        assert gateway.world.book.count("add other") == gateway.world.book.count("remove other") == 1
