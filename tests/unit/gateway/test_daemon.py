import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import structlog.testing
import trio

from gateway.config import load_config
from gateway.connection_log import ConnectionLog
from gateway.control_socket import ControlError, ask
from gateway.daemon import serve
from gateway.fleet import FleetError
from gateway.hostnet import HostProblem
from gateway.planes import PlaneChoice, PlaneUnavailable, Wanted
from gateway.reload import ConfigRefused
from gateway.service_manager import ServiceManager
from gateway.state_lock import StateLockError
from gateway.store import open_store
from tests.lab.config import build_toml, gateway_config, rule
from tests.unit.gateway.fleet_world import FakeHost, OpenFakePlane
from tests.unit.gateway.test_reload import main, other
from tests.unit.gateway.world import pki
from tunnel.plane_settings import PlaneSettings


class RecordingHost(FakeHost):
    """The whole host network, and what was done to it."""

    drops: ClassVar = {"security group": 3}
    closed: ClassVar = ()

    async def open(self) -> None:
        self.book.append("host open")

    async def close(self) -> None:
        self.book.append("host close")

    async def watch(self, report: Callable[[tuple[HostProblem, ...]], None], notice: Callable[[], None]) -> None:
        notice()
        report((HostProblem("main", "office", "eth1 is not there"),))
        await trio.sleep_forever()


class RecordingManager(ServiceManager):
    """What systemd would have heard."""

    def __init__(self, book: list[str]) -> None:
        super().__init__({})
        self.watchdog_interval_s = 0.01
        self._book = book
        self.ready_again = trio.Event()

    def _send(self, *lines: str) -> None:
        said = lines[0].partition("=")[0].lower()
        if said != "watchdog" or "watchdog" not in self._book:
            self._book.append(said)
        if said == "ready":
            self.ready_again.set()
            self.ready_again = trio.Event()


class DaemonWorld:
    """A daemon on a host that only remembers."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.book: list[str] = []
        self.taken_ports: set[int] = set()
        self.file = directory / "config.toml"
        self.socket = directory / "state" / "portway.sock"
        self.directory = directory
        self.manager = RecordingManager(self.book)
        (directory / "pki").symlink_to(pki().path)
        monkeypatch.setattr("gateway.daemon.HostNetwork", lambda _: RecordingHost(self.book))
        self.wanted: list[tuple[str, int]] = []
        self.why_not_native = ""
        monkeypatch.setattr("gateway.daemon.choose_plane", self.choose_plane)

    def choose_plane(self, wanted: Wanted, workers: int) -> PlaneChoice:
        self.wanted.append((wanted, workers))
        if wanted == "native" and self.why_not_native:
            raise PlaneUnavailable(self.why_not_native)
        kind: Any = SimpleNamespace(open=self.open_plane)
        return PlaneChoice(kind, "python" if self.why_not_native else "native", 2, self.why_not_native)

    def open_plane(self, settings: PlaneSettings) -> OpenFakePlane:
        if settings.port in self.taken_ports:
            raise OSError(98, f"port {settings.port} is taken")
        self.book.append(f"open {settings.port}")
        return OpenFakePlane(settings, 0, self.book)

    def write(self, *endpoints: dict[str, Any], **settings: Any) -> None:
        config = gateway_config(self.directory / "state", *endpoints)
        config["gateway"] |= settings
        self.file.write_text(build_toml(config))

    async def serve(self) -> None:
        await serve(self.file, load_config(self.file), self.manager)

    async def ask(self, **request: Any) -> Any:
        return await trio.to_thread.run_sync(ask, self.socket, request)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run the daemon until the block is over and it has ended by SIGTERM."""
        async with trio.open_nursery() as nursery:
            ready = self.manager.ready_again
            nursery.start_soon(self.serve)
            with trio.fail_after(10):
                await ready.wait()
            yield
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonWorld:
    return DaemonWorld(tmp_path, monkeypatch)


async def test_it_starts_and_ends_in_order(world: DaemonWorld) -> None:
    world.write(main())
    async with world.serving():
        status = await world.ask(request="status")
        assert [endpoint["name"] for endpoint in status["endpoints"]] == ["main"]
        assert status["host_problems"] == ["eth1 is not there"]
        assert status["host_drops"] == {"security group": 3}
    assert [line for line in world.book if line != "watchdog"] == [
        "host open",
        "open 443",
        "add main",
        "ready",
        "stopping",
        "remove main",
        "close 443",
        "host close",
    ]
    assert "watchdog" in world.book
    assert not world.socket.exists()


async def test_it_opens_the_plane_that_the_configuration_asks_for(world: DaemonWorld) -> None:
    world.write(main(), plane="native", workers=2)
    with structlog.testing.capture_logs() as logs:
        async with world.serving():
            status = await world.ask(request="status")
    assert world.wanted == [("native", 2)]
    assert status["plane"] == {"name": "native", "workers": 2, "reason": ""}
    assert status["endpoints"][0]["plane"]["udp_gso"] is True
    assert [entry["plane"] for entry in logs if entry["event"] == "gateway ready"] == ["native"]


async def test_a_native_plane_that_cannot_be_had_is_said_and_done_without(world: DaemonWorld) -> None:
    world.write(main(), plane="auto")
    world.why_not_native = "it was not compiled"
    with structlog.testing.capture_logs() as logs:
        async with world.serving():
            status = await world.ask(request="status")
    assert status["plane"]["reason"] == "it was not compiled"
    warnings = [entry for entry in logs if entry["event"] == "the native data plane cannot be had"]
    assert [entry["reason"] for entry in warnings] == ["it was not compiled"]


async def test_a_native_plane_that_is_asked_for_and_cannot_be_had_stops_the_start(world: DaemonWorld) -> None:
    world.write(main(), plane="native")
    world.why_not_native = "it was not compiled"
    with pytest.raises(PlaneUnavailable, match="it was not compiled"):
        await world.serve()
    assert world.book == []


async def test_another_plane_waits_for_the_next_start(world: DaemonWorld) -> None:
    world.write(main())
    async with world.serving():
        world.write(main(), plane="python")
        said = await world.ask(request="reload")
        assert "The changes of [gateway], [store] and [api] take effect when the daemon is started again." in said


async def test_sighup_loads_the_configuration_again(world: DaemonWorld) -> None:
    world.write(main())
    async with world.serving():
        world.write(main(), other())
        again = world.manager.ready_again
        os.kill(os.getpid(), signal.SIGHUP)
        with trio.fail_after(10):
            await again.wait()
        status = await world.ask(request="status")
        assert [endpoint["name"] for endpoint in status["endpoints"]] == ["main", "other"]
        assert status["last_reload"]["result"] == "done"
    assert "reloading" in world.book


@pytest.mark.parametrize("content", ["", "nonsense = 1\n"])
async def test_a_reload_opens_the_connection_log_anew_whatever_the_file_says(
    world: DaemonWorld, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    reopened = 0

    def reopen(_: ConnectionLog) -> None:
        nonlocal reopened
        reopened += 1

    monkeypatch.setattr(ConnectionLog, "reopen", reopen)
    world.write(main())
    async with world.serving():
        world.file.write_text(world.file.read_text() + content)
        with contextlib.suppress(ControlError):
            await world.ask(request="reload")
        assert reopened == 1


async def test_a_reload_that_is_refused_is_said_and_changes_nothing(world: DaemonWorld) -> None:
    world.write(main())
    async with world.serving():
        world.file.write_text("nonsense = 1\n")
        again = world.manager.ready_again
        with structlog.testing.capture_logs() as logs:
            os.kill(os.getpid(), signal.SIGHUP)
            with trio.fail_after(10):
                await again.wait()
        status = await world.ask(request="status")
        assert status["last_reload"]["result"] == "refused"
        assert "nonsense" in json.dumps(status["last_reload"]["sentences"])
        assert [endpoint["name"] for endpoint in status["endpoints"]] == ["main"]
        assert [entry["log_level"] for entry in logs if entry["event"] == "configuration reloaded"] == ["error"]
        world.write(main(authorization_rule=[rule("10.20.0.0/24")]))
        assert await world.ask(request="reload") == ["Endpoint main was changed in place: authorization_rules."]


async def test_a_start_that_fails_leaves_nothing_behind(world: DaemonWorld) -> None:
    world.write(main(), other())
    world.taken_ports = {444}
    with pytest.raises(FleetError, match="port 444 is taken"):
        await world.serve()
    assert world.book == ["host open", "open 443", "close 443", "stopping", "host close"]
    assert not world.socket.exists()


async def test_a_configuration_that_does_not_pass_touches_nothing(world: DaemonWorld) -> None:
    world.write(main(client_cidr_block="10.20.0.0/22"))
    with pytest.raises(ConfigRefused, match=r"10\.20\.0\.0"):
        await world.serve()
    assert "host open" not in world.book


async def test_a_gateway_whose_place_in_the_store_another_one_has_does_not_start(world: DaemonWorld) -> None:
    world.write(main())
    file = world.directory / "state" / "portway.db"
    store = open_store(f"sqlite:///{file}", file.with_name("store.key"))
    lease = store.lease("gw1")
    try:
        with pytest.raises(ConfigRefused, match="Give each its own"):
            await world.serve()
    finally:
        lease.close()
        store.close()
    assert world.book[-1] == "host close"
    assert not world.socket.exists()
    async with world.serving():
        assert (await world.ask(request="status"))["managed"]["problem"] == ""


async def test_two_daemons_cannot_share_a_state_directory(world: DaemonWorld) -> None:
    world.write(main())
    async with world.serving():
        with pytest.raises(StateLockError, match="another Portway daemon"):
            await world.serve()
        assert (await world.ask(request="status"))["endpoints"]


async def test_expiring_certificates_are_warned_of(world: DaemonWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    pki().authority.issue_server("short-lived", days=3)
    world.write(main(server_certificate="pki/short-lived.crt", server_key="pki/short-lived.key"))
    with structlog.testing.capture_logs() as logs:
        async with world.serving():
            await world.ask(request="status")
            await trio.sleep(0.1)
    warnings = [entry for entry in logs if entry["event"] == "certificate or list ends"]
    assert [(entry["endpoint"], entry["urgency"]) for entry in warnings] == [("main", "soon")]
    assert "short-lived" in warnings[0]["what"]
