from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

import pytest
import trio
from OpenSSL import crypto

from gateway.endpoint_settings import Terms
from gateway.reconciliation import SESSIONS_AT_ONCE
from gateway.verification import Reverifier
from policy import (
    AuthorizationRule,
    EndpointSpec,
    GatewaySpec,
    LogDestination,
    ServerCertificate,
    compare,
    compile_access,
)
from tests.unit.gateway.world import LAB, OFFICE, World, make_spec, pki
from tunnel.events import CloseReason


async def adopt(world: World, spec: EndpointSpec) -> None:
    (change,) = compare(GatewaySpec((world.endpoint.spec,)), GatewaySpec((spec,))).changed
    assert not change.needs_restart
    await world.endpoint.adopt(change, Terms.of(spec))
    world.settle()


def reasons(world: World) -> list[str]:
    return [reason for _, _, reason in world.log.told if reason != "NA"]


async def test_changed_rules_reach_live_sessions_in_place() -> None:
    world = World()
    client = world.connect()
    spec = make_spec(authorization_rules=(AuthorizationRule(OFFICE, "finance"), AuthorizationRule(LAB, None)))
    await adopt(world, spec)
    wanted = compile_access(spec, frozenset({"engineering"}))
    (held,) = world.plane.peers.values()
    assert (held.peer.access.starts, held.peer.access.verdicts) == (wanted.starts, wanted.verdicts)
    assert client.established
    assert reasons(world) == []
    assert world.connect(pki().client("bob")).established


async def test_changed_settings_that_clients_were_told_of_make_them_reconnect() -> None:
    world = World()
    client = world.connect()
    await adopt(world, make_spec(dns_servers=(IPv4Address("10.20.0.53"),)))
    world.advance(6)
    assert client.closed is not None
    assert reasons(world) == ["reconfigured"]
    assert "dhcp-option DNS 10.20.0.53" in world.connect().connection.options


async def test_a_new_duration_counts_from_the_beginning_of_live_sessions() -> None:
    world = World(make_spec(session_timeout_hours=10 / 60))
    older = world.connect()
    world.advance(150)
    younger = world.connect(pki().client("bob"))
    world.advance(30)
    await adopt(world, make_spec(session_timeout_hours=2 / 60))
    world.advance(7)
    assert (older.closed is None, younger.closed is None) == (False, True)
    await adopt(world, make_spec(session_timeout_hours=1))
    world.advance(1800)
    assert younger.closed is None
    assert reasons(world) == ["session-timeout"]


async def test_what_becomes_of_a_session_at_its_end_may_change_while_it_lasts() -> None:
    world = World(make_spec(session_timeout_hours=1 / 60))
    client = world.connect()
    await adopt(world, make_spec(session_timeout_hours=1 / 60, disconnect_on_session_timeout=False))
    world.advance(67)
    assert client.closed is not None
    assert client.closing_text.startswith("RESTART")


async def test_a_new_banner_disturbs_nobody_and_is_for_those_who_come() -> None:
    world = World()
    client = world.connect()
    await adopt(world, make_spec(login_banner="For work only."))
    assert client.closed is None
    assert not any("echo" in option for option in client.connection.options)
    assert 'echo "msg For work only."' in world.connect(pki().client("bob")).connection.options


async def test_records_of_live_sessions_go_where_the_new_spec_says() -> None:
    world = World(make_spec(connection_log=None))
    world.connect()
    await adopt(world, make_spec(connection_log=LogDestination("vpn")))
    world.advance(61)
    await adopt(world, make_spec(connection_log=None))
    world.endpoint.peer_exited(0)
    assert [record.log_group for record in world.log.records] == [None, "vpn", None]


async def test_a_revoked_client_is_turned_away_and_the_others_stay() -> None:
    world = World()
    world.connect()
    doomed = world.connect(pki().client("trudy"))
    pki().authority.revoke("trudy")
    await adopt(world, make_spec())
    world.advance(6)
    assert doomed.closed is not None
    assert reasons(world) == ["certificate-revoked"]
    assert len(world.plane.peers) == 1
    again = world.connect(doomed.connection._config.tls)
    world.advance(6)
    assert not again.established
    assert reasons(world) == ["certificate-revoked", "certificate-revoked"]


def many_clients(world: World, count: int) -> None:
    for number in range(count):
        world.connect(pki().client(f"member{number}"))
    assert len(world.plane.peers) == count


def crowded() -> EndpointSpec:
    return make_spec(client_cidr_block=IPv4Network("10.80.0.0/26"))


async def test_packets_have_their_turn_while_many_certificates_are_verified_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(crowded())
    many_clients(world, 5 * SESSIONS_AT_ONCE)
    judged: list[Sequence[crypto.X509]] = []
    judge = Reverifier.find_fault
    turns: list[int] = []

    async def packets() -> None:
        while True:
            turns.append(len(judged))
            await trio.lowlevel.checkpoint()

    def count_and_judge(self: Reverifier, chain: Sequence[crypto.X509]) -> tuple[CloseReason, str] | None:
        judged.append(chain)
        return judge(self, chain)

    monkeypatch.setattr(Reverifier, "find_fault", count_and_judge)
    pki().client("nobody")
    pki().authority.revoke("nobody")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(packets)
        await adopt(world, crowded())
        nursery.cancel_scope.cancel()
    assert len(judged) == 5 * SESSIONS_AT_ONCE
    # The loop may run one task last in a round and first in the next.
    assert max(now - before for before, now in pairwise(turns)) <= 2 * SESSIONS_AT_ONCE
    assert reasons(world) == []


async def test_whom_a_revocation_names_goes_first_and_who_left_meanwhile_is_left_alone() -> None:
    world = World(crowded())
    many_clients(world, 2 * SESSIONS_AT_ONCE)
    last = f"member{2 * SESSIONS_AT_ONCE - 1}"
    pki().authority.revoke(last)

    async def leave() -> None:
        while len(world.plane.peers) == 2 * SESSIONS_AT_ONCE:
            await trio.lowlevel.checkpoint()
        world.endpoint.peer_exited(2 * SESSIONS_AT_ONCE - 2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await adopt(world, crowded())
    assert reasons(world) == ["certificate-revoked", "client-exit"]
    assert len(world.plane.peers) == 2 * SESSIONS_AT_ONCE - 2


async def test_a_handshake_that_began_before_a_revocation_does_not_slip_through() -> None:
    world = World()
    slow = world.client(pki().client("walter"))
    slow.step()
    slow.step()
    assert len(world.endpoint.sessions) == 1
    pki().authority.revoke("walter")
    await adopt(world, make_spec())
    assert not slow.established
    assert world.plane.peers == {}


async def test_groups_read_from_elsewhere_change_what_live_sessions_reach() -> None:
    world = World()
    world.connect()
    spec = make_spec()
    spec = replace(spec, authentication=replace(spec.authentication, groups_from=None))
    await adopt(world, spec)
    wanted = compile_access(spec, frozenset())
    (held,) = world.plane.peers.values()
    assert (held.peer.access.starts, held.peer.access.verdicts) == (wanted.starts, wanted.verdicts)
    assert reasons(world) == []


async def test_a_new_server_certificate_serves_new_handshakes_and_renegotiations() -> None:
    world = World()
    client = world.connect()
    pki().authority.issue_server("server-two")
    before = world.endpoint._keeper.terms.config.tls
    await adopt(
        world,
        make_spec(server_certificate=ServerCertificate(pki().read("server-two.crt"), pki().read("server-two.key"))),
    )
    assert client.established
    (session,) = world.endpoint.sessions.leased
    assert session.connection._config.tls is world.endpoint._keeper.terms.config.tls is not before
    world.advance(2)
    client.connection.renegotiate(world.now)
    world.settle()
    assert world.plane.peers[0].active == 1
    certificate = client.connection._keys[1].tls.peer_certificate()
    assert certificate is not None
    assert certificate.subject.rfc4514_string() == "CN=server-two"


async def test_a_changed_renegotiation_time_reaches_live_sessions() -> None:
    world = World()
    world.connect()
    spec = make_spec()
    await adopt(world, replace(spec, data_channel=replace(spec.data_channel, renegotiate_after_s=300)))
    world.advance(301)
    assert world.plane.peers[0].active == 1


async def test_a_client_between_reply_and_return_does_not_have_to_begin_again() -> None:
    world = World()
    client = world.client()
    client.step()
    spec = make_spec()
    await adopt(world, replace(spec, handshake=replace(spec.handshake, max_stateless_replies=50)))
    assert client.established
    assert world.endpoint.admitter.ignored == {}


async def test_new_limits_bind_the_next_client() -> None:
    world = World()
    world.connect()
    await adopt(world, make_spec(max_clients=1))
    late = world.connect(pki().client("bob"))
    world.advance(6)
    assert not late.established
    assert reasons(world) == ["client-limit"]


async def test_what_concerns_no_session_disturbs_none() -> None:
    world = World()
    client = world.connect()
    await adopt(world, make_spec(description="another text", clients_reachable=True))
    world.advance(6)
    assert client.closed is None
    assert reasons(world) == []
    assert world.endpoint.spec.clients_reachable
    assert world.endpoint.spec.client_cidr_block == IPv4Network("10.80.0.0/29")
