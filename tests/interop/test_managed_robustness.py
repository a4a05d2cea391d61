"""The API, the store and the daemon as processes of their own: what was answered holds, whatever is killed."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import pytest

from gateway.api.client import ApiClientError
from gateway.store import schema
from tests.lab import eventually
from tests.lab.api import Api
from tests.lab.managed import OFFICE_ID, ManagedSite
from tests.lab.network import OFFICE_NETWORK, VAULT_HOST
from tests.lab.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

pytestmark = pytest.mark.interop

CALLERS = 16
RIVALS = 4
PATIENCE_S = 30
HALF_OF_OFFICE = "10.20.0.128/25"


class ApiSite(ManagedSite):
    """A managed site whose callers go through the API's own process."""

    def __init__(self, directory: Path, pki: Path, *, store_url: str = "") -> None:
        super().__init__(directory, pki, store_url=store_url)
        self.config["api"] = {"quotas": {"endpoints": 0, "authorization_rules_per_endpoint": 0}}
        self._beside = ExitStack()

    def __enter__(self) -> Self:
        super().__enter__()
        self._beside.callback(super().__exit__, None, None, None)
        self.api = self._beside.enter_context(Api(self.lab.gateway, self.config_file, log=self.lab.log("api")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"{self.gateway.tail()}\n{self.api.tail()}")
        self._beside.close()

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        return self.api.client().call(action, **parameters)

    def call_until_answered(self, action: str, **parameters: Any) -> list[str]:
        """Call again for as long as the answer is to try again later; the codes of those answers."""
        codes: list[str] = []

        def is_done() -> bool:
            try:
                self.call(action, **parameters)
            except ApiClientError as error:
                if error.code != "ServiceUnavailable":
                    raise
                codes.append(error.code)
                return False
            return True

        eventually(is_done, within_s=PATIENCE_S, what=f"{action} is carried out")
        return codes

    def rules(self, endpoint_id: str) -> list[tuple[str, str]]:
        """Destination and status of each rule, in order."""
        shown = self.call("DescribeClientVpnAuthorizationRules", ClientVpnEndpointId=endpoint_id)["AuthorizationRules"]
        return sorted((rule["DestinationCidr"], rule["Status"]["Code"]) for rule in shown)

    def end_endpoint(self, endpoint_id: str) -> None:
        """Disassociate what is associated, delete, and wait until it is gone."""
        for row in self.rows(schema.association):
            if row.endpoint_id == endpoint_id and row.ended_at is None:
                self.disassociate(endpoint_id, row.id)
                self.wait_for(schema.association, "disassociated", id=row.id)
        self.call("DeleteClientVpnEndpoint", ClientVpnEndpointId=endpoint_id)
        self.wait_for(schema.endpoint, "deleted", id=endpoint_id)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[ApiSite]:
    with ApiSite(tmp_path_factory.mktemp("site"), pki) as site:
        yield site


def networks(second_octet: int, count: int) -> list[str]:
    return sorted(f"10.{second_octet}.{number}.0/24" for number in range(count))


def test_a_thousand_changes_at_once_leave_what_was_acknowledged(site: ApiSite) -> None:
    """Some callers want the same, of whom one gets it; others make and remove, each its own."""
    endpoint_id = site.create()
    site.associate(endpoint_id)
    contested, transient = networks(100, 150), networks(101, 100)

    def is_acknowledged(cidr: str) -> bool:
        try:
            site.authorize(endpoint_id, cidr, "engineering")
        except ApiClientError as error:
            if error.code != "InvalidClientVpnDuplicateAuthorizationRule":
                raise
            return False
        return True

    def come_and_go(cidr: str) -> None:
        for _ in range(2):
            site.authorize(endpoint_id, cidr, "engineering")
            site.revoke_rule(endpoint_id, cidr, "engineering")

    with ThreadPoolExecutor(CALLERS // 2) as rivals, ThreadPoolExecutor(CALLERS // 2) as others:
        gone = [others.submit(come_and_go, cidr) for cidr in transient]
        acknowledged = list(rivals.map(is_acknowledged, [cidr for cidr in contested for _ in range(RIVALS)]))
        for one in gone:
            one.result()
    assert [sum(acknowledged[at : at + RIVALS]) for at in range(0, len(acknowledged), RIVALS)] == [1] * len(contested)
    wanted = [(cidr, "active") for cidr in contested]
    eventually(lambda: site.rules(endpoint_id) == wanted, within_s=PATIENCE_S, what="just those are in force")
    site.end_endpoint(endpoint_id)


def make(site: ApiSite) -> Iterator[str]:
    """Make an endpoint that leads to the office, beside those that are there, and give its id after every step."""
    number = len(site.rows(schema.endpoint))
    endpoint_id = site.create(ClientCidrBlock=f"10.{90 + number}.0.0/22", VpnPort=2000 + number)
    yield endpoint_id
    site.associate(endpoint_id)
    yield endpoint_id
    site.authorize(endpoint_id, OFFICE_NETWORK, "engineering")
    yield endpoint_id
    parameters = {"DestinationCidrBlock": HALF_OF_OFFICE, "TargetVpcSubnetId": OFFICE_ID}
    site.call("CreateClientVpnRoute", ClientVpnEndpointId=endpoint_id, **parameters)
    yield endpoint_id


def killed_and_back_at_once(site: ApiSite, rest: Iterator[str]) -> None:
    site.gateway.kill()
    site.start_gateway()
    list(rest)


def killed_and_back_at_the_end(site: ApiSite, rest: Iterator[str]) -> None:
    site.gateway.kill()
    try:
        next(rest, None)
    finally:
        site.start_gateway()
    list(rest)


@pytest.mark.parametrize("step", range(4), ids=["endpoint", "association", "rule", "route"])
@pytest.mark.parametrize("killed", [killed_and_back_at_once, killed_and_back_at_the_end], ids=["restarted", "absent"])
def test_a_creation_is_whole_although_the_daemon_was_killed_in_it(
    site: ApiSite, step: int, killed: Callable[[ApiSite, Iterator[str]], None]
) -> None:
    steps = make(site)
    for _ in range(step + 1):
        endpoint_id = next(steps)
    killed(site, steps)
    site.wait_for(schema.endpoint, "available", id=endpoint_id)
    site.wait_for(schema.authorization_rule, "active", endpoint_id=endpoint_id)
    site.wait_for(schema.route, "active", endpoint_id=endpoint_id, destination_cidr=HALF_OF_OFFICE)
    with site.connect(endpoint_id, "alice") as alice:
        connected = alice.wait_connected()
        assert {"route 10.20.0.0 255.255.255.0", "route 10.20.0.128 255.255.255.128"} <= set(connected.pushed)
        assert site.reaches_office(alice)
        assert not alice.ping(VAULT_HOST, within_s=1)


HOLDER = """
import socket, sys, time
held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
held.bind(("0.0.0.0", int(sys.argv[1])))
print("held", flush=True)
time.sleep(600)
"""


def test_a_port_that_another_program_has_is_taken_once_it_is_free_and_nobody_notices_before(site: ApiSite) -> None:
    *_, endpoint_id = make(site)
    site.wait_for(schema.endpoint, "available", id=endpoint_id)

    def message() -> str:
        return str(next(row.status_message for row in site.rows(schema.endpoint) if row.id == endpoint_id))

    with (
        site.lab.gateway.start(sys.executable, "-c", HOLDER, "1999", log=site.lab.log("holder")) as holder,
        site.connect(endpoint_id, "alice") as alice,
    ):
        holder.wait_for("held")
        alice.wait_connected()
        mark = alice.mark()
        site.call("ModifyClientVpnEndpoint", ClientVpnEndpointId=endpoint_id, VpnPort=1999)
        eventually(lambda: "another program uses this port" in message(), within_s=PATIENCE_S, what="it is said")
        assert site.reaches_office(alice)
        assert "SIGUSR1" not in alice.text()[mark:]
        holder.stop()
        eventually(lambda: message() == "", within_s=PATIENCE_S, what="the port is taken")
        alice.wait_for("SIGUSR1", after=mark)


@pytest.mark.postgresql
def test_a_database_that_is_killed_among_changes_loses_none_that_was_answered(tmp_path: Path, pki: Path) -> None:
    """Who was told to try again does so with the same token, and no change is made twice."""
    with (
        Postgres() as postgres,
        ApiSite(tmp_path, pki, store_url=postgres.url(postgres.create_database())) as site,
        ThreadPoolExecutor(CALLERS // 2) as callers,
    ):
        endpoint_id = site.create()
        site.associate(endpoint_id)
        site.authorize(endpoint_id, OFFICE_NETWORK, "engineering")
        site.wait_for(schema.authorization_rule, "active", endpoint_id=endpoint_id)
        cidrs = networks(100, 150)

        def authorize(cidr: str) -> list[str]:
            rule = {"TargetNetworkCidr": cidr, "AccessGroupId": "engineering", "ClientToken": cidr}
            return site.call_until_answered("AuthorizeClientVpnIngress", ClientVpnEndpointId=endpoint_id, **rule)

        with site.connect(endpoint_id, "alice") as alice:
            alice.wait_connected()
            mark = alice.mark()
            answers = [callers.submit(authorize, cidr) for cidr in cidrs]
            for number in (20, 70):
                answers[number].result()
                postgres.stop_immediately()
                eventually(lambda: refused(site), within_s=PATIENCE_S, what="callers are told to try again")
                postgres.start()
            assert [code for answer in answers for code in answer.result()]
            wanted = sorted((cidr, "active") for cidr in (*cidrs, OFFICE_NETWORK))
            eventually(lambda: site.rules(endpoint_id) == wanted, within_s=60, what="all of them are in force")
            assert site.reaches_office(alice)
            assert "SIGUSR1" not in alice.text()[mark:]


def refused(site: ApiSite) -> bool:
    try:
        site.call("DescribeClientVpnEndpoints")
    except ApiClientError as error:
        return error.code == "ServiceUnavailable"
    return False
