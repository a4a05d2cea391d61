from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from gateway.endpoint_settings import Terms
from policy import AuthorizationRule, EndpointSpec, GatewaySpec, ServerCertificate, compare, compile_access
from tests.unit.gateway.world import LAB, OFFICE, World, make_spec, pki


def adopt(world: World, spec: EndpointSpec) -> None:
    (change,) = compare(GatewaySpec((world.endpoint.spec,)), GatewaySpec((spec,))).changed
    assert not change.needs_restart
    world.endpoint.adopt(change, Terms.of(spec))
    world.settle()


def reasons(world: World) -> list[str]:
    return [reason for _, _, reason in world.log.told if reason != "NA"]


def test_changed_rules_reach_live_sessions_in_place() -> None:
    world = World()
    client = world.connect()
    spec = make_spec(authorization_rules=(AuthorizationRule(OFFICE, "finance"), AuthorizationRule(LAB, None)))
    adopt(world, spec)
    wanted = compile_access(spec, frozenset({"engineering"}))
    (held,) = world.plane.peers.values()
    assert (held.peer.access.starts, held.peer.access.verdicts) == (wanted.starts, wanted.verdicts)
    assert client.established
    assert reasons(world) == []
    assert world.connect(pki().client("bob")).established


def test_changed_settings_that_clients_were_told_of_make_them_reconnect() -> None:
    world = World()
    client = world.connect()
    adopt(world, make_spec(dns_servers=(IPv4Address("10.20.0.53"),)))
    world.advance(6)
    assert client.closed is not None
    assert reasons(world) == ["reconfigured"]
    assert "dhcp-option DNS 10.20.0.53" in world.connect().connection.options


def test_a_revoked_client_is_turned_away_and_the_others_stay() -> None:
    world = World()
    world.connect()
    doomed = world.connect(pki().client("trudy"))
    pki().authority.revoke("trudy")
    adopt(world, make_spec())
    world.advance(6)
    assert doomed.closed is not None
    assert reasons(world) == ["certificate-revoked"]
    assert len(world.plane.peers) == 1
    again = world.connect(doomed.connection._config.tls)
    world.advance(6)
    assert not again.established
    assert reasons(world) == ["certificate-revoked", "certificate-revoked"]


def test_a_handshake_that_began_before_a_revocation_does_not_slip_through() -> None:
    world = World()
    slow = world.client(pki().client("walter"))
    slow.step()
    slow.step()
    assert len(world.endpoint.sessions) == 1
    pki().authority.revoke("walter")
    adopt(world, make_spec())
    assert not slow.established
    assert world.plane.peers == {}


def test_groups_read_from_elsewhere_change_what_live_sessions_reach() -> None:
    world = World()
    world.connect()
    spec = make_spec()
    spec = replace(spec, authentication=replace(spec.authentication, groups_from=None))
    adopt(world, spec)
    wanted = compile_access(spec, frozenset())
    (held,) = world.plane.peers.values()
    assert (held.peer.access.starts, held.peer.access.verdicts) == (wanted.starts, wanted.verdicts)
    assert reasons(world) == []


def test_a_new_server_certificate_serves_new_handshakes_and_renegotiations() -> None:
    world = World()
    client = world.connect()
    pki().authority.issue_server("server-two")
    before = world.endpoint._keeper.terms.config.tls
    adopt(
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
    subjects = [name.rfc4514_string() for name in (client.connection._keys[1].tls.peer_chain()[0].subject,)]
    assert subjects == ["CN=server-two"]


def test_a_changed_renegotiation_time_reaches_live_sessions() -> None:
    world = World()
    world.connect()
    spec = make_spec()
    adopt(world, replace(spec, data_channel=replace(spec.data_channel, renegotiate_after_s=300)))
    world.advance(301)
    assert world.plane.peers[0].active == 1


def test_new_limits_bind_the_next_client() -> None:
    world = World()
    world.connect()
    adopt(world, make_spec(max_clients=1))
    late = world.connect(pki().client("bob"))
    world.advance(6)
    assert not late.established
    assert reasons(world) == ["client-limit"]


def test_what_concerns_no_session_disturbs_none() -> None:
    world = World()
    client = world.connect()
    adopt(world, make_spec(description="another text", clients_reachable=True))
    world.advance(6)
    assert client.closed is None
    assert reasons(world) == []
    assert world.endpoint.spec.clients_reachable
    assert world.endpoint.spec.client_cidr_block == IPv4Network("10.80.0.0/29")
