"""SIGKILL at any moment, in the midst of whatever the API and the daemon do: what was acknowledged is there, and whole.

Callers make and end endpoints without a pause, and ask again, with the same tokens, until they are answered. Meanwhile
one process or the other, or both, are killed at moments that a seed decides, and started again at once.
"""

from __future__ import annotations

import random
import re
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import pytest

from gateway.api.client import ApiClientError
from gateway.store import schema
from tests.interop.test_managed_robustness import ApiSite
from tests.lab import eventually
from tests.lab.api import Api
from tests.lab.managed import OFFICE_ID
from tests.lab.network import OFFICE_NETWORK
from tests.lab.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Table

pytestmark = pytest.mark.interop

SEED = 4
VICTIMS = ("daemon", "api", "both", "daemon", "api")
LONGEST_S = 1.0
"""Between the moment when all runs again and the next kill."""
ALIVE = 3
"""Endpoints that are there at once; the oldest makes room for the next."""
PATIENCE_S = 30
NO_ANSWER = {"NotRunning", "Unreachable", "ServiceUnavailable"}
GONE = {"InvalidClientVpnEndpointId.NotFound", "InvalidClientVpnAssociationId.NotFound"}
HALF = "10.20.0.128/25"
SETTLED = {"available", "deleted", "associated", "disassociated", "active"}
OWNED = (schema.association, schema.route, schema.authorization_rule)


class KillSite(ApiSite):
    """A site whose processes end at any moment."""

    def kill(self, victim: str) -> None:
        if victim != "api":
            self.gateway.kill()
        if victim != "daemon":
            self.api.kill()

    def revive(self) -> None:
        """Start whatever does not run."""
        if self.api.exit_code is not None:
            self.api = Api(self.lab.gateway, self.config_file, log=self.lab.log("api"))
            self._beside.callback(self.api.stop)
        if self.gateway.exit_code is not None:
            self.start_gateway()


class Stream:
    """Makes endpoints one after the other, and ends the oldest, until it is told to finish."""

    def __init__(self, site: KillSite) -> None:
        self.alive: list[str] = []
        """Endpoints of which every part was acknowledged, and not the end."""
        self.ended: list[str] = []
        self.unanswered = 0
        self.error: BaseException | None = None
        self._site = site
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            number = 0
            while not self._over.is_set():
                self._make(number)
                if len(self.alive) > ALIVE:
                    self._end(self.alive[0])
                number += 1
        except BaseException as error:  # noqa: BLE001 - the test has to see it
            self.error = error

    def _make(self, number: int) -> None:
        at = {"ClientCidrBlock": f"10.{100 + number % 100}.0.0/22", "VpnPort": 2000 + number}
        made = self._ask(f"create-{number}", lambda token: self._site.create(ClientToken=token, **at))
        endpoint = {"ClientVpnEndpointId": made}
        for action, parameters in (
            ("AssociateClientVpnTargetNetwork", {"SubnetId": OFFICE_ID}),
            ("AuthorizeClientVpnIngress", {"TargetNetworkCidr": OFFICE_NETWORK, "AuthorizeAllGroups": True}),
            ("CreateClientVpnRoute", {"DestinationCidrBlock": HALF, "TargetVpcSubnetId": OFFICE_ID}),
        ):
            self._call(action, f"{action}-{number}", **endpoint, **parameters)
        self.alive.append(made)

    def _end(self, endpoint_id: str) -> None:
        endpoint = {"ClientVpnEndpointId": endpoint_id}
        networks = self._ask("", lambda _: self._site.call("DescribeClientVpnTargetNetworks", **endpoint))
        for network in networks["ClientVpnTargetNetworks"]:
            self._call("DisassociateClientVpnTargetNetwork", AssociationId=network["AssociationId"], **endpoint)
        self._until_it_may_go(endpoint)
        self.alive.remove(endpoint_id)
        self.ended.append(endpoint_id)

    def _until_it_may_go(self, endpoint: dict[str, str]) -> None:
        """Until the daemon has let go of its networks, which it may be too dead for."""
        while True:
            try:
                self._call("DeleteClientVpnEndpoint", **endpoint)
            except ApiClientError as error:
                if error.code != "DependencyViolation":
                    raise
                time.sleep(0.05)
            else:
                return

    def _call(self, action: str, token: str = "", **parameters: Any) -> None:
        with_token = {"ClientToken": token} if token else {}
        self._ask(token, lambda _: self._site.call(action, **parameters, **with_token))

    def _ask(self, token: str, ask: Any) -> Any:
        """Ask until there is an answer; what is gone already has been ended by a call whose answer was lost."""
        asked_again = False
        while True:
            try:
                return ask(token)
            except ApiClientError as error:
                if error.code in GONE and asked_again and not token:
                    return None
                if error.code not in NO_ANSWER:
                    raise
                asked_again = True
                self.unanswered += 1
                time.sleep(0.02)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def site(request: pytest.FixtureRequest, tmp_path: Path, pki: Path) -> Iterator[KillSite]:
    with ExitStack() as stack:
        url = ""
        if request.param == "postgresql":
            postgres = stack.enter_context(Postgres())
            url = postgres.url(postgres.create_database())
        yield stack.enter_context(KillSite(tmp_path, pki, store_url=url))


def living(site: KillSite, table: Table) -> list[dict[str, Any]]:
    """What has not ended, of endpoints that were made at run time."""
    of_file = {row.id for row in site.rows(schema.endpoint) if row.origin == "file"}
    rows = [row._asdict() for row in site.rows(table)]
    return [row for row in rows if row.get("ended_at") is None and row.get("endpoint_id", row.get("id")) not in of_file]


def unsettled(site: KillSite) -> list[tuple[str, str]]:
    tables = (schema.endpoint, *OWNED)
    found = [(table.name, row["status_code"]) for table in tables for row in living(site, table)]
    return [(name, code) for name, code in found if code not in SETTLED]


def devices(site: KillSite) -> list[set[str]]:
    """The tunnels that there are, those that the firewall knows, and those that have a way out."""
    gateway = site.lab.gateway
    listed, rules = gateway.run("nft", "list", "ruleset").stdout, gateway.run("ip", "rule").stdout
    return [
        {name for name in gateway.interfaces() if name.startswith("portway")},
        set(re.findall(r'"(portway\d+)" comment', listed)),
        set(re.findall(r"iif (portway\d+)", rules)),
    ]


def test_killed_at_any_moment_what_was_acknowledged_is_there_and_nothing_is_half_made(site: KillSite) -> None:
    chance = random.Random(SEED)
    with Stream(site) as stream:
        for victim in VICTIMS:
            time.sleep(chance.uniform(0.05, LONGEST_S))
            site.kill(victim)
            site.revive()
    assert stream.error is None
    assert stream.unanswered, "no call was cut off"
    assert stream.ended, "the stream was not under way"
    eventually(lambda: not unsettled(site), within_s=PATIENCE_S, what="everything reaches its final state")
    assert {row["id"] for row in living(site, schema.endpoint)} == set(stream.alive)
    for table in OWNED:
        parts = [row["endpoint_id"] for row in living(site, table)]
        assert sorted(parts) == sorted(stream.alive * (2 if table is schema.route else 1)), table.name
    tunnels = eventually(lambda: agreed(site), within_s=PATIENCE_S, what="the host has what runs, and nothing else")
    assert len(tunnels) == len(stream.alive) + 1, "one for each endpoint, and that of the file"
    site.gateway.stop()
    assert devices(site) == [set(), set(), set()]
    assert "portway" not in site.lab.gateway.run("nft", "list", "tables").stdout


def agreed(site: KillSite) -> set[str]:
    """The tunnels, where all that there is on the host is of the same ones."""
    first, *others = devices(site)
    return first if all(each == first for each in others) else set()
