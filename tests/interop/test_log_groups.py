"""Records of stock clients' sessions go to the log group of their endpoint, whatever becomes of it meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.store import schema
from tests.lab import eventually
from tests.lab.managed import ManagedSite
from tests.lab.network import OFFICE_NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop

AUDIT = {"name": "audit", "file": "audit.log"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[ManagedSite]:
    site = ManagedSite(tmp_path_factory.mktemp("site"), pki)
    site.config["log_group"] = [AUDIT]
    with site:
        yield site


@pytest.fixture(scope="module")
def endpoint_id(site: ManagedSite) -> str:
    """An endpoint whose log group is `audit`."""
    endpoint_id = site.create(ConnectionLogOptions=logged("audit", "people"))
    site.associate(endpoint_id)
    site.authorize(endpoint_id, OFFICE_NETWORK, "engineering")
    site.wait_for(schema.endpoint, "available", id=endpoint_id)
    return endpoint_id


def logged(group: str, stream: str) -> dict[str, Any]:
    return {"Enabled": True, "CloudwatchLogGroup": group, "CloudwatchLogStream": stream}


def modify(site: ManagedSite, endpoint_id: str, options: dict[str, Any]) -> None:
    """Change where records go, and wait until the gateway knows."""
    site.call("ModifyClientVpnEndpoint", ClientVpnEndpointId=endpoint_id, ConnectionLogOptions=options)
    wanted = options.get("CloudwatchLogGroup")

    def is_known() -> bool:
        logs = {one["name"]: one["connection_log"] or {} for one in status(site)["endpoints"]}
        return bool(logs[endpoint_id].get("group") == wanted)

    eventually(is_known, within_s=10, what=f"the endpoint's records go to {wanted}")


def status(site: ManagedSite) -> Any:
    return json.loads(site.gateway.portway("status", "--json"))


def records(site: ManagedSite, file: str, endpoint_id: str) -> list[tuple[str, str]]:
    """Kinds and streams of an endpoint's records in a file."""
    path = site.directory / "state" / file
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    mine = [line for line in lines if line["client-vpn-endpoint-id"] == endpoint_id]
    return [(line["connection-log-type"].removeprefix("connection-"), line["log-stream"]) for line in mine]


def events(site: ManagedSite, endpoint_id: str) -> list[str]:
    return [row.outcome for row in site.rows(schema.connection_event) if row.endpoint_id == endpoint_id]


def visit(site: ManagedSite, endpoint_id: str) -> None:
    """A session from its beginning to its end, until the store has all of it."""
    before = len(events(site, endpoint_id))
    with site.connect(endpoint_id, "alice") as alice:
        alice.wait_connected()
    eventually(lambda: len(events(site, endpoint_id)) == before + 2, within_s=10, what="the store has the session")


def test_records_go_to_the_group_of_the_endpoint_and_nowhere_else(site: ManagedSite, endpoint_id: str) -> None:
    visit(site, endpoint_id)
    wanted = [("attempt", "people"), ("reset", "people")]
    eventually(lambda: records(site, "audit.log", endpoint_id) == wanted, within_s=10, what="audit.log has both")
    assert records(site, "connections.log", endpoint_id) == []


def test_without_logging_there_are_no_records_and_the_store_has_its_own(site: ManagedSite, endpoint_id: str) -> None:
    before = records(site, "audit.log", endpoint_id)
    modify(site, endpoint_id, {"Enabled": False})
    visit(site, endpoint_id)
    modify(site, endpoint_id, logged("audit", "later"))
    visit(site, endpoint_id)
    wanted = [*before, ("attempt", "later"), ("reset", "later")]
    eventually(lambda: records(site, "audit.log", endpoint_id) == wanted, within_s=10, what="audit.log has the second")
    assert records(site, "connections.log", endpoint_id) == []


def test_a_reload_adds_a_group_and_takes_one_away_while_a_session_lasts(site: ManagedSite, endpoint_id: str) -> None:
    def reload(*groups: dict[str, str]) -> str:
        site.config["log_group"] = list(groups)
        site.gateway.write(site.config)
        return site.gateway.portway("reload")

    with site.connect(endpoint_id, "alice") as alice:
        alice.wait_connected()
        assert "Log group late was added." in reload(AUDIT, {"name": "late", "file": "late.log"})
        modify(site, endpoint_id, logged("late", ""))
    eventually(
        lambda: records(site, "late.log", endpoint_id) == [("reset", endpoint_id)], within_s=10, what="late.log has it"
    )
    assert "Log group late was removed." in reload(AUDIT)
    (condition,) = [one for one in status(site)["health"] if one["code"] == "log-group-unknown"]
    assert condition["subject"] == endpoint_id
    visit(site, endpoint_id)
    wanted = [("attempt", endpoint_id), ("reset", endpoint_id)]
    eventually(
        lambda: records(site, "connections.log", endpoint_id) == wanted, within_s=10, what="the default has them"
    )
    assert records(site, "late.log", endpoint_id) == [("reset", endpoint_id)]
