"""What befalls a session: it moves, ends, is ended, and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import TRANSPORTS, OpenVpnClient, Site, endpoint, start_relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[Site]:
    """Beside the usual endpoint one that soon takes silence for death, and two whose sessions are short."""
    impatient = endpoint(
        name="impatient",
        vpn_port=1443,
        client_cidr_block="10.84.0.0/22",
        keepalive={"interval_s": 1, "timeout_s": 4},
    )
    brief = endpoint(
        name="brief",
        vpn_port=2443,
        client_cidr_block="10.88.0.0/22",
        session_timeout_hours=3 / 3600,
    )
    returning = brief | {
        "name": "returning",
        "vpn_port": 3443,
        "client_cidr_block": "10.92.0.0/22",
        "disconnect_on_session_timeout": False,
    }
    with Site(tmp_path_factory.mktemp("sessions"), pki, endpoint(), impatient, brief, returning) as site:
        yield site


def test_a_client_that_moves_keeps_its_session(site: Site) -> None:
    relay = start_relay(site.lab, 443, via=("198.18.1.2", "198.18.1.3"))
    profile = relay.detour(site.profile("alice"))
    with relay, OpenVpnClient(site.lab.client, profile, log=site.lab.log("moving")) as client:
        before = client.wait_connected()
        assert site.reaches_office(client)
        for _ in range(3):
            mark = client.mark()
            relay.move()
            assert client.ping("10.20.0.10", within_s=10)
            assert "Restart" not in client.text()[mark:]
        sessions = [one for one in site.gateway.connections() if one["common_name"] == "alice"]
        assert [one["client_ip"] for one in sessions] == [before.address]


def test_a_client_that_was_killed_comes_back_to_its_address(site: Site) -> None:
    client = site.client("alice")
    address = client.wait_connected().address
    client.kill()
    with site.client("alice") as client:
        assert client.wait_connected().address == address
        assert site.reaches_office(client)
        site.gateway.wait_for_record(common_name="alice", reason_code="replaced")


def test_a_client_that_leaves_is_gone_at_once(site: Site) -> None:
    with site.client("alice") as client:
        client.wait_connected()
    site.gateway.wait_for_record(common_name="alice", reason_code="client-exit", within_s=3)
    assert not [one for one in site.gateway.connections() if one["common_name"] == "alice"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_terminated_client_is_told_and_stays_away(site: Site, transport: str) -> None:
    with site.client("alice", *TRANSPORTS[transport]) as client:
        client.wait_connected()
        site.gateway.portway("terminate", "--user", "alice")
        site.gateway.wait_for_record(common_name="alice", reason_code="terminated", transport_protocol=transport)
        client.wait_for("Halt command was pushed by server")
        assert client.wait() == 0


def test_a_client_that_falls_silent_is_given_up(site: Site) -> None:
    client = site.client("alice", endpoint="impatient")
    client.wait_connected()
    client.kill()
    site.gateway.wait_for_record(common_name="alice", reason_code="idle-timeout", within_s=20)


def test_the_keepalive_keeps_an_idle_session(site: Site) -> None:
    with site.client("alice", endpoint="impatient") as client:
        client.wait_connected()
        mark = client.mark()
        site.lab.client.run("sleep", "8")
        assert "Inactivity timeout" not in client.text()[mark:]
        assert site.reaches_office(client)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_whose_time_is_over_is_told_why_and_stays_away(site: Site, transport: str) -> None:
    with site.client("bob", *TRANSPORTS[transport], endpoint="brief") as client:
        client.wait_connected()
        client.wait_for("AUTH_FAILED,the longest duration of a session is over; log in again")
        assert client.wait() == 0
    site.gateway.wait_for_record(
        connection_log_type="connection-reset",
        common_name="bob",
        reason_code="session-timeout",
        transport_protocol=transport,
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_whose_time_is_over_comes_back_by_itself_where_it_may(site: Site, transport: str) -> None:
    with site.client("carol", *TRANSPORTS[transport], endpoint="returning") as client:
        client.wait_connected()
        mark = client.mark()
        client.wait_for("reset command was pushed by server", after=mark)
        client.wait_connected(after=mark)
        assert site.reaches_office(client)
    site.gateway.wait_for_record(
        connection_log_type="connection-reset",
        common_name="carol",
        reason_code="session-timeout",
        transport_protocol=transport,
    )
