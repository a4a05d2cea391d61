"""What sessions of stock clients leave in the store, through kills, restarts and a database that is away."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.object_ids import endpoint_id
from gateway.store import schema
from tests.lab import eventually
from tests.lab.gateway import PORTWAY
from tests.lab.managed import ManagedSite
from tests.lab.postgres import Postgres
from tests.lab.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[ManagedSite]:
    with ManagedSite(tmp_path_factory.mktemp("site"), pki) as site:
        yield site


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres() as postgres:
        yield postgres


def outcomes(site: ManagedSite, name: str) -> list[str]:
    records = site.call("DescribeConnectionLog", Username=name)["ConnectionLogRecords"]
    return [record["Outcome"] for record in reversed(records)]


def interval(site: ManagedSite, connection_id: str) -> Any:
    return next(row for row in site.rows(schema.usage) if row.id == connection_id)


def test_counters_follow_a_session_and_its_end_is_accounted(site: ManagedSite) -> None:
    began = time.time()
    with site.client("alice") as alice:
        alice.wait_connected()
        row = site.wait_for(schema.connection, "active", common_name="alice")
        assert site.reaches_office(alice)

        def has_moved() -> bool:
            return any(one.ingress_bytes > 0 and one.id == row.id for one in site.rows(schema.connection))

        eventually(has_moved, within_s=20, what="the counters of the session are in the store")
        assert interval(site, row.id).ended_at is None
    site.wait_for(schema.connection, "terminated", id=row.id)
    lasted = interval(site, row.id).ended_at - interval(site, row.id).started_at
    assert 0 <= lasted <= time.time() - began + 1
    assert outcomes(site, "alice") == ["successful", "ended"]
    usage = site.call("GetUsage", GroupBy="user", Username="alice")
    assert usage["UsageRecords"][0]["ConnectionSeconds"] == lasted


def test_a_session_ends_when_the_api_asks_for_that(site: ManagedSite) -> None:
    with site.client("bob") as bob:
        bob.wait_connected()
        mark = bob.mark()
        row = site.wait_for(schema.connection, "active", common_name="bob")
        site.call("TerminateClientVpnConnections", ClientVpnEndpointId=row.endpoint_id, ConnectionId=row.id)
        site.wait_for(schema.connection, "terminated", id=row.id)
        assert site.gateway.wait_for_record(common_name="bob", reason_code="terminated")
        bob.wait_for("exiting|process restarting", after=mark)


def test_a_killed_gateway_is_accounted_until_it_was_last_seen(site: ManagedSite) -> None:
    with site.client("carol") as carol:
        carol.wait_connected()
        row = site.wait_for(schema.connection, "active", common_name="carol")
        killed_at = time.time()
        site.gateway.signal(signal.SIGKILL)
        site.gateway.wait()
    site.start_gateway()
    ended = site.wait_for(schema.connection, "terminated", id=row.id)
    assert int(row.established_at) <= ended.ended_at <= killed_at
    assert interval(site, row.id).ended_at == ended.ended_at
    with site.client("carol") as carol:
        carol.wait_connected()
        assert site.wait_for(schema.connection, "active", common_name="carol").id != row.id
    eventually(lambda: outcomes(site, "carol")[-1] == "ended", within_s=10, what="the second session has ended")
    assert outcomes(site, "carol") == ["successful", "successful", "ended"]


@pytest.mark.postgresql
def test_what_happens_while_the_database_is_away_is_written_later(
    tmp_path: Path, pki: Path, postgres: Postgres
) -> None:
    url = postgres.url(postgres.create_database())
    with ManagedSite(tmp_path, pki, store_url=url) as site, site.client("alice") as alice:
        alice.wait_connected()
        first = site.wait_for(schema.connection, "active", common_name="alice")
        postgres.stop_immediately()
        with site.client("bob") as bob:
            bob.wait_connected()
            assert site.reaches_office(alice)
        site.gateway.wait_for_record(common_name="bob", connection_log_type="connection-reset")
        eventually(lambda: "store-away" in site.gateway.portway("status"), within_s=60, what="the status says so")
        postgres.start()
        site.wait_for(schema.connection, "terminated", within_s=60, common_name="bob")
        site.wait_for(schema.connection, "active", id=first.id)
        assert outcomes(site, "bob") == ["successful", "ended"]
        eventually(lambda: "nothing is wrong" in site.gateway.portway("status"), within_s=60, what="it is well again")


# What watches it


@pytest.fixture
def pages(site: ManagedSite) -> Iterator[httpx.Client]:
    """The API's process beside the gateway, asked on its Unix socket."""
    command = site.lab.gateway.command(str(PORTWAY), "api", "--config", str(site.config_file))
    with Process(command, log=site.lab.log("api")) as api:
        api.wait_for("API ready")
        transport = httpx.HTTPTransport(uds=str(site.directory / "state" / "api.sock"))
        with httpx.Client(transport=transport, base_url="http://gateway", timeout=30) as client:
            yield client


def test_metrics_and_health_are_those_of_the_gateway(site: ManagedSite, pages: httpx.Client) -> None:
    labels = f'endpoint="main",endpoint_id="{endpoint_id("main")}"'
    with site.client("dave") as dave:
        dave.wait_connected()
        metrics = pages.get("/metrics").text
        assert "portway_up 1.0" in metrics
        assert f"portway_active_connections_count{{{labels}}} 1.0" in metrics
        assert f'portway_handshake_stage_seconds_bucket{{{labels},le="+Inf",stage="confirmation"}}' in metrics
    assert [pages.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    site.gateway.stop()
    eventually(lambda: "portway_up 0.0" in pages.get("/metrics").text, within_s=10, what="metrics say that it is gone")
    eventually(lambda: is_silent(pages.get("/readyz")), within_s=10, what="it is not ready, since nobody answers")
    site.start_gateway()
    eventually(lambda: pages.get("/readyz").is_success, within_s=10, what="it is ready again")


def is_silent(page: httpx.Response) -> bool:
    return page.status_code == 503 and "daemon-silent" in page.text
