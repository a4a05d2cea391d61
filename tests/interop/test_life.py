"""The daemon's own life: restarts, reloads, crashes, neighbours; and the host stays, or becomes again, as it was."""

from __future__ import annotations

import copy
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.lab import (
    OFFICE_HOST,
    OFFICE_NETWORK,
    TRANSPORTS,
    VAULT_NETWORK,
    Gateway,
    LabError,
    Site,
    endpoint,
    eventually,
    rule,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab import Toml

pytestmark = pytest.mark.interop

LOST = re.compile(r"(\d+) packets transmitted, (\d+) received")


@pytest.fixture
def site(tmp_path: Path, pki: Path) -> Iterator[Site]:
    """A daemon for each test, since each ends it or changes it."""
    with Site(tmp_path, pki) as site:
        yield site


def changed(site: Site, **changes: object) -> Toml:
    """The site's configuration with other values in its first endpoint."""
    config = copy.deepcopy(site.config)
    config["endpoint"][0] |= changes
    return config


def test_a_stopped_gateway_tells_its_clients_and_leaves_the_host_as_it_was(site: Site) -> None:
    site.gateway.stop()
    before = site.lab.gateway.network_state()
    site.start_gateway()
    with site.client("alice") as client:
        client.wait_connected()
        assert site.reaches_office(client)
        assert site.lab.gateway.network_state() != before
        assert site.gateway.stop() == 0
        client.wait_for("server-pushed connection reset|Connection reset command was pushed by server")
        assert site.lab.gateway.network_state() == before


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_clients_come_back_after_a_restart(site: Site, transport: str) -> None:
    with site.client("alice", *TRANSPORTS[transport]) as client:
        client.wait_connected()
        mark = client.mark()
        site.gateway.stop()
        site.start_gateway()
        client.wait_connected(after=mark, within_s=60)
        assert site.reaches_office(client)


def test_what_a_killed_gateway_has_left_is_cleaned_up_by_the_next(site: Site) -> None:
    site.gateway.stop()
    before = site.lab.gateway.network_state()
    site.start_gateway()
    with site.client("alice") as client:
        client.wait_connected()
    site.gateway.kill()
    assert site.lab.gateway.network_state() != before
    site.start_gateway()
    with site.client("alice") as client:
        client.wait_connected()
        assert site.reaches_office(client)
    site.gateway.stop()
    assert site.lab.gateway.network_state() == before


def test_a_changed_rule_acts_on_live_sessions_without_dropping_them(site: Site) -> None:
    with site.client("alice") as client:
        client.wait_connected()
        mark = client.mark()
        assert not site.lab.client.ping("10.30.0.10", within_s=1)
        site.gateway.write(changed(site, authorization_rule=[rule(OFFICE_NETWORK, "finance"), rule(VAULT_NETWORK)]))
        site.gateway.reload()
        eventually(lambda: site.reaches_vault(client), within_s=5, what="the vault is opened")
        eventually(lambda: not client.ping(OFFICE_HOST, within_s=1), within_s=5, what="the office is closed")
        assert client.text()[mark:] == ""


def test_traffic_flows_on_while_the_configuration_is_reloaded(site: Site) -> None:
    with site.client("alice") as client:
        client.wait_connected()
        ping = ("ping", "-n", "-q", "-c", "200", "-i", "0.02", "-W", "2", OFFICE_HOST)
        pinging = site.lab.start(site.lab.client, *ping, name="ping")
        for number in range(5):
            site.gateway.write(changed(site, description=f"the same, said for the {number}th time"))
            site.gateway.reload()
            site.lab.client.run("sleep", "0.5")
        counts = LOST.search(pinging.text()) if pinging.wait(within_s=30) == 0 else None
        assert counts is not None, pinging.text()
        assert counts[1] == counts[2]


def test_a_configuration_that_does_not_hold_changes_nothing_and_says_why(site: Site) -> None:
    with site.client("alice") as client:
        client.wait_connected()
        mark = site.gateway.mark()
        site.gateway.write(changed(site, client_cidr_block="10.20.0.0/22"))
        site.gateway.reload()
        site.gateway.wait_for(r"client_cidr_block", after=mark)
        assert site.reaches_office(client)
        assert site.gateway.exit_code is None


def test_an_endpoint_that_can_be_put_up_in_no_form_comes_by_itself_when_it_can(site: Site) -> None:
    host = site.lab.gateway
    host.ip("address add 198.18.1.9/24 dev client1")
    site.gateway.write(changed(site, listen="198.18.1.9"))
    site.gateway.reload()
    site.gateway.wait_for("configuration reloaded.*result=done")
    host.ip("address delete 198.18.1.9/24 dev client1")
    squatter = site.lab.start(host, sys.executable, "-m", "tests.lab.web", "1443", name="squatter")
    squatter.wait_for("^ready")
    site.gateway.write(changed(site, vpn_port=1443))
    site.gateway.reload()
    site.gateway.wait_for("configuration reloaded.*result=incomplete")
    assert "(down, and tried again until it works)" in site.gateway.portway("status")
    squatter.kill()
    eventually(lambda: "(down" not in site.gateway.portway("status"), within_s=30, what="the endpoint runs again")
    with site.client("alice") as client:
        client.wait_connected()
        assert site.reaches_office(client)


def test_a_taken_port_is_told_in_a_sentence(site: Site) -> None:
    second = site.directory / "second"
    second.mkdir()
    config = changed(site, client_cidr_block="10.84.0.0/22")
    config["gateway"]["state_dir"] = str(second / "state")
    with pytest.raises(LabError, match="443") as failure:
        Gateway(site.lab.gateway, site.directory, config, log=site.lab.log("second"))
    assert "Traceback" not in str(failure.value)


def test_two_daemons_do_not_disturb_each_other(site: Site) -> None:
    second = site.directory / "second"
    second.mkdir()
    (second / "pki").symlink_to(site.pki)
    config = copy.deepcopy(site.config)
    config["gateway"]["state_dir"] = str(second / "state")
    config["endpoint"] = [endpoint(name="other", vpn_port=1443, client_cidr_block="10.84.0.0/22")]
    with site.client("alice") as client:
        client.wait_connected()
        alone = site.lab.gateway.network_state()
        with Gateway(site.lab.gateway, second, config, log=site.lab.log("second")) as other:
            assert site.reaches_office(client)
            other.signal(signal.SIGKILL)
            other.wait()
            assert site.reaches_office(client)
        with Gateway(site.lab.gateway, second, config, log=site.lab.log("second")):
            assert site.reaches_office(client)
        assert site.reaches_office(client)
        assert site.lab.gateway.network_state() == alone
