"""Security groups on the flows of a stock client, open ones included, as the API's callers change them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from gateway.store import schema
from tests.lab import OFFICE_HOST, eventually
from tests.lab.managed import ManagedSite
from tests.lab.network import OFFICE_NETWORK, WEB_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.process import Process

pytestmark = pytest.mark.interop

PATIENCE_S = 20
FIRST_PORT, SECOND_PORT = 5201, 5202
MOVES = r"sec +[0-9.]*[1-9][0-9.]* [KM]Bytes"
STANDS = r"sec +0\.00 Bytes"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[ManagedSite]:
    with ManagedSite(tmp_path_factory.mktemp("site"), pki) as site:
        yield site


@pytest.fixture
def servers(site: ManagedSite) -> Iterator[None]:
    """Servers of the test's own: to the next one they would be busy for as long as they wait for who was cut off."""
    with ExitStack() as stack:
        for port in (FIRST_PORT, SECOND_PORT):
            command = ("iperf3", "-s", "-p", str(port), "--forceflush")
            server = stack.enter_context(site.lab.office.start(*command, log=site.lab.log(f"iperf3-{port}")))
            server.wait_for("Server listening")
        yield


class Guarded:
    """A running endpoint whose target network has one security group, and what a client has there."""

    def __init__(self, site: ManagedSite) -> None:
        self.site = site
        self.id = site.create()
        site.associate(self.id)
        site.authorize(self.id, OFFICE_NETWORK, "engineering")
        site.wait_for(schema.endpoint, "available", id=self.id)
        self.group = self.make_group("web")
        self.apply(self.group)

    def make_group(self, name: str) -> str:
        """A group that allows nothing yet."""
        made = self.site.call("CreateSecurityGroup", GroupName=name, Description=name)
        group_id = str(made["GroupId"])
        self.change("Revoke", "-1", group=group_id)
        return group_id

    def apply(self, *group_ids: str) -> None:
        (row,) = [row for row in self.site.rows(schema.endpoint) if row.id == self.id]
        self.site.call(
            "ApplySecurityGroupsToClientVpnTargetNetwork",
            ClientVpnEndpointId=self.id,
            VpcId=row.vpc_id,
            SecurityGroupIds=list(group_ids),
        )

    def change(self, verb: str, protocol: str, *ports: int, group: str = "") -> None:
        """Authorize or revoke an egress rule; `ports` are the first and the last, or one."""
        permission: dict[str, Any] = {"IpProtocol": protocol, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        if ports:
            permission |= {"FromPort": ports[0], "ToPort": ports[-1]}
        self.site.call(f"{verb}SecurityGroupEgress", GroupId=group or self.group, IpPermissions=[permission])

    def allow(self, protocol: str, *ports: int, group: str = "") -> None:
        self.change("Authorize", protocol, *ports, group=group)

    def revoke(self, protocol: str, *ports: int) -> None:
        self.change("Revoke", protocol, *ports)

    def fetches(self) -> bool:
        return self.site.lab.fetch(OFFICE_HOST, "/whoami", within_s=1) is not None

    def pings(self) -> bool:
        return self.site.lab.client.ping(OFFICE_HOST, within_s=1)

    def stream(self, port: int, *options: str) -> Process:
        """What the office sends to the client for a minute, with a line in the log for each fifth of a second."""
        server = ("-c", OFFICE_HOST, "-p", str(port))
        command = ("iperf3", *server, "-R", "-t", "60", "-i", "0.2", "-b", "4M", "--forceflush", *options)
        return self.site.lab.client.start(*command, log=self.site.lab.log(f"stream-{port}"))

    def close(self) -> None:
        for row in self.site.rows(schema.association):
            if row.endpoint_id == self.id and row.ended_at is None:
                self.site.disassociate(self.id, row.id)
                self.site.wait_for(schema.association, "disassociated", id=row.id)
        self.site.call("DeleteClientVpnEndpoint", ClientVpnEndpointId=self.id)
        self.site.wait_for(schema.endpoint, "deleted", id=self.id)
        for row in self.site.rows(schema.security_group):
            if row.name != "default":
                self.site.call("DeleteSecurityGroup", GroupId=row.id)


@pytest.fixture
def guarded(site: ManagedSite, servers: None) -> Iterator[Guarded]:
    """With a client that is connected."""
    guarded = Guarded(site)
    with site.connect(guarded.id, "alice") as alice:
        alice.wait_connected()
        yield guarded
    guarded.close()


def soon(guarded: Guarded, what: str, *, pings: bool, fetches: bool) -> None:
    eventually(lambda: (guarded.pings(), guarded.fetches()) == (pings, fetches), within_s=PATIENCE_S, what=what)


def test_what_a_group_allows_passes_and_nothing_else(guarded: Guarded) -> None:
    soon(guarded, "an empty group lets nothing pass", pings=False, fetches=False)
    guarded.allow("tcp", WEB_PORT - 1, WEB_PORT + 1)
    soon(guarded, "a range of ports lets the web pass", pings=False, fetches=True)
    guarded.allow("icmp", 8, -1)
    soon(guarded, "echo requests pass as well", pings=True, fetches=True)
    guarded.revoke("tcp", WEB_PORT - 1, WEB_PORT + 1)
    soon(guarded, "the web does not pass any more", pings=True, fetches=False)


def test_groups_add_up_and_are_replaced_together(guarded: Guarded) -> None:
    names = guarded.make_group("names")
    guarded.allow("tcp", WEB_PORT)
    guarded.allow("icmp", -1, -1, group=names)
    soon(guarded, "the one group lets the web pass", pings=False, fetches=True)
    guarded.apply(guarded.group, names)
    soon(guarded, "both let pass what they allow", pings=True, fetches=True)
    guarded.apply(names)
    soon(guarded, "the other group lets pings pass", pings=True, fetches=False)


def test_an_open_connection_ends_with_its_rule_and_others_go_on(guarded: Guarded) -> None:
    for port in (FIRST_PORT, SECOND_PORT):
        guarded.allow("tcp", port)
    with guarded.stream(FIRST_PORT) as ending, guarded.stream(SECOND_PORT) as staying:
        for stream in (ending, staying):
            stream.wait_for(MOVES, within_s=PATIENCE_S)
        mark = ending.mark()
        guarded.revoke("tcp", FIRST_PORT)
        ending.wait_for(STANDS, within_s=PATIENCE_S, after=mark)
        staying.wait_for(MOVES, within_s=PATIENCE_S, after=staying.mark())


def test_a_stream_of_datagrams_that_only_comes_from_the_target_ends_with_its_rule(guarded: Guarded) -> None:
    guarded.allow("tcp", FIRST_PORT)
    guarded.allow("udp", FIRST_PORT)
    with guarded.stream(FIRST_PORT, "-u") as stream:
        stream.wait_for(MOVES, within_s=PATIENCE_S)
        mark = stream.mark()
        guarded.revoke("udp", FIRST_PORT)
        stream.wait_for(STANDS, within_s=PATIENCE_S, after=mark)
        mark = stream.mark()
        guarded.allow("udp", FIRST_PORT)
        stream.wait_for(MOVES, within_s=PATIENCE_S, after=mark)


def test_an_explanation_says_which_group_decides(guarded: Guarded) -> None:
    guarded.allow("tcp", WEB_PORT)
    soon(guarded, "the web passes", pings=False, fetches=True)
    (session,) = [one for one in guarded.site.gateway.connections() if one["endpoint"] == guarded.id]
    passes, refused = (
        guarded.site.gateway.portway("explain", "--id", session["id"], "--to", f"{OFFICE_HOST}:{port}/tcp")
        for port in (WEB_PORT, 22)
    )
    assert f"web ({guarded.group}) allows tcp port {WEB_PORT}" in passes
    assert "no security group of" in refused
    assert f"allow tcp port 22 to {OFFICE_HOST}/32 by an egress rule" in refused
