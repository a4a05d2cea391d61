"""Declarations are in force on live sessions, and do to those who are connected what their plans say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.store import schema
from tests.lab import OFFICE_HOST, eventually
from tests.lab.managed import PORT, ManagedSite
from tests.lab.network import OFFICE_NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[ManagedSite]:
    with ManagedSite(tmp_path_factory.mktemp("site"), pki) as site:
        yield site


def document(site: ManagedSite, **changes: Any) -> str:
    """An endpoint for engineering, with the certificates of the gateway's own authority."""
    certificates = site.rows(schema.certificate)
    endpoint = {
        "name": "staff",
        "client_cidr_block": "10.90.0.0/22",
        "vpn_port": PORT,
        "server_certificate": next(row.arn for row in certificates if row.private_key is not None),
        "authentication": {
            "client_root_certificate_chain": next(row.arn for row in certificates if row.private_key is None)
        },
        "target_network": [{"name": "office"}],
        "authorization_rule": [{"destination": OFFICE_NETWORK, "group": "engineering"}],
    }
    return json.dumps({"endpoint": [endpoint | changes]})


def effects(site: ManagedSite, text: str, **more: Any) -> dict[str, list[str]]:
    """What a plan says of those who are connected."""
    planned = site.call("ApplyConfiguration", Document=text, Plan=True, **more)
    return {session["CommonName"]: session["Effects"] for session in planned["Sessions"]}


def test_what_a_plan_says_of_a_session_is_what_becomes_of_it(site: ManagedSite) -> None:
    site.call("ApplyConfiguration", Document=document(site))
    endpoint = site.wait_for(schema.endpoint, "available", origin="api")
    site.wait_for(schema.authorization_rule, "active", endpoint_id=endpoint.id, group_id="engineering")
    with site.connect(endpoint.id, "alice") as alice:
        alice.wait_connected()
        assert site.reaches_office(alice)
        site.wait_for(schema.connection, "active", common_name="alice")

        mark = alice.mark()
        closed = document(site, authorization_rule=[])
        assert effects(site, closed) == {"alice": ["access changes"]}
        site.call("ApplyConfiguration", Document=closed)
        eventually(lambda: not alice.ping(OFFICE_HOST, within_s=1), within_s=10, what="she is out of the office")
        assert "SIGUSR1" not in alice.text()[mark:]

        moved = document(site, client_cidr_block="10.92.0.0/22")
        assert effects(site, moved) == {"alice": ["reconnects", "access changes"]}
        site.call("ApplyConfiguration", Document=moved)
        connected = alice.wait_connected(after=mark, within_s=60)
        assert connected.address.startswith("10.92.")
        assert site.reaches_office(alice)

        site.wait_for(schema.connection, "active", common_name="alice", client_ip=connected.address)
        mark = alice.mark()
        nothing = json.dumps({"endpoint": []})
        assert effects(site, nothing, Prune=True) == {"alice": ["is cut off"]}
        site.call("ApplyConfiguration", Document=nothing, Prune=True)
        alice.wait_for("SIGUSR1", after=mark)
    site.wait_for(schema.endpoint, "deleted", id=endpoint.id)
    assert all(row.ended_at is not None for row in site.rows(schema.association) if row.endpoint_id == endpoint.id)


def both(site: ManagedSite, first: dict[str, Any], second: dict[str, Any]) -> str:
    return json.dumps({"endpoint": [json.loads(document(site, **one))["endpoint"][0] for one in (first, second)]})


def test_two_endpoints_trade_their_ranges_under_who_is_connected(site: ManagedSite) -> None:
    staff, guests = {"name": "staff"}, {"name": "guests", "vpn_port": PORT + 1}
    near, far = {"client_cidr_block": "10.90.0.0/22"}, {"client_cidr_block": "10.91.0.0/22"}
    site.call("ApplyConfiguration", Document=both(site, staff | near, guests | far))
    ids = [row.id for row in site.rows(schema.endpoint) if row.origin == "api" and row.ended_at is None]
    for endpoint_id in ids:
        site.wait_for(schema.endpoint, "available", id=endpoint_id)
        site.wait_for(schema.authorization_rule, "active", endpoint_id=endpoint_id)
    (staff_id,) = (row.id for row in site.rows(schema.endpoint) if row.id in ids and row.vpn_port == PORT)
    with site.connect(staff_id, "alice") as alice:
        assert alice.wait_connected().address.startswith("10.90.")
        site.wait_for(schema.connection, "active", endpoint_id=staff_id, common_name="alice")
        mark = alice.mark()
        traded = both(site, staff | far, guests | near)
        assert effects(site, traded) == {"alice": ["reconnects"]}
        site.call("ApplyConfiguration", Document=traded)
        assert alice.wait_connected(after=mark, within_s=60).address.startswith("10.91.")
        assert site.reaches_office(alice)
    assert site.call("ApplyConfiguration", Document=traded, Plan=True)["Changes"] == []
    assert [row.id for row in site.rows(schema.endpoint) if row.origin == "api" and row.ended_at is None] == ids

    renamed = both(site, {"name": "veterans"} | far, {"name": "visitors", "vpn_port": PORT + 1} | near)
    site.call("ApplyConfiguration", Document=renamed, Prune=True)
    for row in site.rows(schema.endpoint):
        if row.origin == "api" and row.id not in ids and row.ended_at is None:
            site.wait_for(schema.endpoint, "available", id=row.id)
    assert all(row.ended_at is not None for row in site.rows(schema.endpoint) if row.id in ids)
    site.call("ApplyConfiguration", Document=json.dumps({"endpoint": []}), Prune=True)
