import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from itertools import islice

import pytest
import structlog.testing
import trio
import trio.testing

from gateway.endpoint import Endpoint
from policy import ControlChannelProtection, HandshakeLimits, Route, compile_access
from policy.validate_network import MAX_ROUTES
from tests.unit.gateway.world import Client, RecordingLog, World, make_spec, pki
from tunnel.events import CloseReason
from tunnel.plane import Path, Traffic, Transport
from tunnel.tls import TlsClientContext

SUCCESS = ("connection-attempt", "successful", "NA")


def failed(reason: str) -> tuple[str, str, str]:
    return ("connection-attempt", "failed", reason)


def ended(reason: str) -> tuple[str, str, str]:
    return ("connection-reset", "NA", reason)


# Connecting


def test_a_client_connects_and_the_plane_has_its_address_key_and_rights() -> None:
    world = World()
    client = world.connect()
    assert client.established
    (held,) = world.plane.peers.values()
    assert held.peer.peer_id == client.connection.peer_id == 0
    assert IPv4Address(held.peer.inside) == IPv4Address("10.80.0.2")
    assert "ifconfig 10.80.0.2 255.255.255.248" in client.connection.options
    assert "route 10.20.0.0 255.255.255.0" in client.connection.options
    assert held.active == 0
    rights = compile_access(world.endpoint.spec, frozenset({"engineering"}))
    assert (held.peer.access.starts, held.peer.access.verdicts) == (rights.starts, rights.verdicts)
    assert held.peer.idle_timeout_s == 2 * held.peer.ping_interval_s * 6
    assert world.log.told == [SUCCESS]
    assert world.endpoint.admitter.half_open.total == 0


def test_a_client_can_be_told_of_as_many_routes_as_an_endpoint_may_have() -> None:
    destinations = islice(IPv4Network("100.128.0.0/9").subnets(new_prefix=28), MAX_ROUTES)
    spec = make_spec(routes=tuple(Route(destination, "office") for destination in destinations))
    client = World(spec).connect()
    assert client.established
    assert sum(option.startswith("route ") for option in client.connection.options) == MAX_ROUTES


def test_a_client_connects_over_tcp_and_its_stream_is_closed_at_the_end() -> None:
    world = World()
    client = world.connect(stream=7)
    assert client.established
    world.endpoint.stream_closed(client.path)
    assert world.plane.peers == {}
    assert world.log.told == [SUCCESS, ended("stream-closed")]
    assert len(world.endpoint.sessions) == 0


def test_the_key_is_installed_before_the_client_can_use_it() -> None:
    world = World()
    client = world.client()
    while not client.established:
        had_key = any(held.keys for held in world.plane.peers.values())
        client.step()
        assert had_key or not client.connection.options


def test_clients_with_equal_rights_share_one_table() -> None:
    world = World()
    world.connect()
    world.connect(pki().client("carla", "engineering", "a group that no rule names"))
    world.connect(pki().client("eve"))
    first, second, third = (held.peer.access for held in world.plane.peers.values())
    assert first is second
    assert first is not third


def test_a_returning_client_gets_its_address_again() -> None:
    world = World()
    first = world.connect()
    world.connect(pki().client("bob"))
    world.endpoint.peer_exited(0)
    world.connect(pki().client("eve"))
    again = world.connect()
    assert "ifconfig 10.80.0.2 255.255.255.248" in first.connection.options
    assert "ifconfig 10.80.0.2 255.255.255.248" in again.connection.options


# Refusals


def test_a_full_pool_refuses_with_a_sentence() -> None:
    world = World(make_spec(client_cidr_block=IPv4Network("10.80.0.0/30")))
    world.connect()
    late = world.connect(pki().client("bob"))
    world.advance(6)
    assert not late.established
    assert "no free address" in late.closing_text
    assert world.log.told == [SUCCESS, failed("pool-exhausted")]
    assert world.log.records[-1].common_name == "bob"


def test_more_clients_than_the_limit_are_refused() -> None:
    world = World(make_spec(max_clients=1))
    world.connect()
    late = world.connect(pki().client("bob"))
    assert not late.established
    assert world.log.told == [SUCCESS, failed("client-limit")]


def test_a_revoked_certificate_is_refused_and_logged() -> None:
    tls = pki().client("mallory")
    pki().authority.revoke("mallory")
    world = World()
    client = world.connect(tls)
    world.advance(10)
    assert not client.established
    assert world.log.told == [failed("certificate-revoked")]
    assert world.log.records[-1].common_name == "mallory"
    assert len(world.endpoint.sessions) == 0
    assert world.endpoint.admitter.half_open.total == 0


def test_a_handshake_that_stops_is_given_up_and_logged() -> None:
    world = World()
    client = world.client()
    client.step()
    client.step()
    client.silent = True
    world.settle()
    assert world.endpoint.admitter.half_open.total == 1
    world.advance(70)
    assert world.log.told == [failed("handshake-timeout")]
    assert world.endpoint.admitter.half_open.total == 0
    assert len(world.endpoint.sessions) == 0


def test_no_common_cipher_is_told_and_logged() -> None:
    spec = make_spec()
    world = World(replace(spec, data_channel=replace(spec.data_channel, data_ciphers=("CHACHA20-POLY1305",))))
    client = world.connect(ciphers=("AES-128-GCM",))
    world.advance(6)
    assert client.closed is not None
    assert world.log.told == [failed("no-common-cipher")]
    assert world.log.records[-1].common_name == "ana"


def test_a_protection_that_is_not_accepted_is_logged_once_a_minute_for_each_network() -> None:
    control = make_spec().control_channel
    world = World(
        make_spec(
            control_channel=replace(
                control, accept=(ControlChannelProtection.TLS_CRYPT,), tls_crypt_key=bytes(range(256))
            )
        )
    )
    client = world.connect()
    world.advance(59)
    assert world.endpoint.admitter.ignored["protection-not-accepted"] > 1
    assert world.log.told == [failed("wrong-control-key")]
    assert not client.established


def test_handshakes_in_flight_are_bounded_by_network() -> None:
    world = World(make_spec(handshake=HandshakeLimits(max_half_open=3, max_half_open_per_prefix=2)))
    clients = [world.client() for _ in range(4)]
    for _ in range(2):
        for client in clients:
            client.step()
    assert world.endpoint.admitter.half_open.total == 2
    assert world.log.told == [failed("too-many-handshakes")]


# One client, several sessions


def test_a_second_session_of_a_name_replaces_the_oldest() -> None:
    world = World()
    world.connect()
    second = world.connect()
    assert second.established
    assert world.log.told == [SUCCESS, ended("replaced"), SUCCESS]
    assert world.addresses == [IPv4Address("10.80.0.2")]


def test_a_name_may_hold_as_many_sessions_as_the_endpoint_says() -> None:
    world = World(make_spec(sessions_per_client=2))
    clients = [world.connect() for _ in range(3)]
    assert all(client.established for client in clients)
    assert len(world.plane.peers) == 2
    world = World(make_spec(sessions_per_client=0))
    assert all(world.connect().established for _ in range(4))
    assert len(world.plane.peers) == 4


def test_a_reset_on_a_live_path_replaces_the_session_only_when_it_has_authenticated() -> None:
    world = World(make_spec(sessions_per_client=0))
    world.connect(port=5000)
    restarted = world.client(port=5000)
    world.clients.remove(world.clients[0])
    restarted.step()
    restarted.step()
    assert len(world.plane.peers) == 1
    assert world.log.told == [SUCCESS]
    world.settle()
    assert restarted.established
    assert world.log.told == [SUCCESS, ended("replaced"), SUCCESS]
    assert len(world.plane.peers) == 1


def test_an_unauthenticated_reset_does_not_end_a_live_session() -> None:
    world = World()
    world.connect(port=5000)
    intruder = world.client(pki().client("mallory"), port=5000)
    world.clients.remove(world.clients[0])
    pki().authority.renew_crl()
    intruder.step()
    intruder.step()
    intruder.silent = True
    world.advance(70)
    assert world.log.told[0] == SUCCESS
    assert ended("replaced") not in world.log.told
    assert len(world.plane.peers) == 1


# While it runs


def test_counters_are_refreshed_every_minute_and_exact_at_the_end() -> None:
    world = World()
    world.connect()
    world.plane.peers[0].traffic = Traffic(1, 100, 2, 200)
    world.advance(61)
    world.plane.peers[0].traffic = Traffic(5, 500, 6, 600)
    world.endpoint.peer_idle(0)
    assert world.log.told == [SUCCESS, SUCCESS, ended("idle-timeout")]
    assert [record.counters.ingress_bytes for record in world.log.records] == [0, 100, 500]
    assert json.loads(world.log.records[-1].as_json())["connection-duration-seconds"] == "61"


def test_a_client_that_floats_is_answered_where_it_is() -> None:
    world = World()
    client = world.connect()
    elsewhere = Path(Transport.UDP, ("203.0.113.9", 1234))
    world.endpoint.peer_floated(0, elsewhere)
    client.path = elsewhere
    world.advance(2)
    client.connection.renegotiate(world.now)
    world.settle()
    assert world.plane.peers[0].active == 1
    world.endpoint.peer_exited(0)
    assert world.log.records[-1].device_ip == "203.0.113.9"


def test_a_worn_key_is_replaced_and_the_old_one_dropped_after_its_window() -> None:
    spec = make_spec()
    world = World(replace(spec, data_channel=replace(spec.data_channel, transition_window_s=30)))
    world.connect()
    world.advance(2)
    world.endpoint.key_worn(0)
    world.settle()
    assert set(world.plane.peers[0].keys) == {0, 1}
    assert world.plane.peers[0].active == 1
    world.advance(31)
    assert set(world.plane.peers[0].keys) == {1}


@pytest.mark.parametrize(("disconnects", "last_words"), [(True, "AUTH_FAILED,"), (False, "RESTART,[P]:")])
def test_a_session_ends_when_its_time_is_over(disconnects: bool, last_words: str) -> None:
    world = World(make_spec(session_timeout_hours=0.01, disconnect_on_session_timeout=disconnects))
    client = world.connect()
    world.advance(30)
    assert not client.closing_text
    world.advance(13)
    assert client.closed is not None
    assert client.closing_text.startswith(last_words)
    assert world.log.told == [SUCCESS, ended("session-timeout")]


def test_a_client_that_says_exit_is_gone_at_once() -> None:
    world = World()
    client = world.connect()
    client.connection.exit(world.now)
    world.settle()
    assert world.plane.peers == {}
    assert world.log.told == [SUCCESS, ended("client-exit")]
    world.advance(6)
    assert len(world.endpoint.sessions) == 0


@pytest.mark.parametrize("stream", [0, 7])
def test_a_client_that_breaks_the_protocol_has_nothing_from_that_moment_on(stream: int) -> None:
    world = World()
    client = world.connect(stream=stream)
    client.connection._keys[0].tls.write(b"A" * 8192)  # a message without an end
    packets = client.connection.packets_to_send(world.now)
    while packets:  # it acknowledges nothing of what it is told
        for packet in packets:
            world.endpoint.control_received(client.path, packet)
        for packet in world.plane.sent.pop(client.path, []):
            client.connection.receive_packet(packet, world.now)
        packets = client.connection.packets_to_send(world.now) if world.plane.peers else []
    assert world.log.told == [SUCCESS, ended("protocol-error")]
    assert world.plane.peers == {}
    assert len(world.endpoint.sessions) == 1
    world.advance(6)
    assert len(world.endpoint.sessions) == 0
    assert world.log.told == [SUCCESS, ended("protocol-error")]


def test_terminate_tells_the_client_and_frees_what_it_held() -> None:
    world = World()
    client = world.connect()
    (session,) = world.endpoint.sessions.leased
    world.endpoint.terminate(session)
    world.advance(6)
    assert client.closed is not None
    assert world.plane.peers == {}
    assert world.endpoint.authorizer.pool.used == 0
    assert world.log.told == [SUCCESS, ended("terminated")]


async def test_draining_asks_clients_to_reconnect_and_lets_nobody_in(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    client = world.connect()
    await world.endpoint.drain(CloseReason.SHUTDOWN, "the gateway stops")
    world.advance(6)
    assert client.closed is not None
    assert world.log.told == [SUCCESS, ended("gateway-shutdown")]
    late = world.connect(pki().client("bob"))
    assert not late.established
    assert world.log.told == [SUCCESS, ended("gateway-shutdown")]


# Faults


def test_a_fault_ends_one_session_and_no_other() -> None:
    world = World()
    world.connect()
    world.plane.fault = ZeroDivisionError("a bug")
    with structlog.testing.capture_logs() as logs:
        unlucky = world.connect(pki().client("bob"))
    world.plane.fault = None
    assert not unlucky.established
    assert next(entry["event"] for entry in logs if entry["log_level"] == "error") == "session failed"
    assert failed("internal-error") in world.log.told
    assert len(world.plane.peers) == 1
    assert world.endpoint.authorizer.pool.used == 1
    assert world.endpoint.admitter.half_open.total == 0
    assert world.connect(pki().client("eve")).established


@pytest.mark.parametrize("packet", [b"", b"\x38", b"\x38" * 14, b"\x50" * 400, bytes(range(256)), b"\x20" * 60])
def test_garbage_from_strangers_changes_nothing(packet: bytes) -> None:
    world = World()
    for transport in Transport:
        world.endpoint.control_received(Path(transport, ("198.51.100.9", 1), stream=1), packet)
    assert len(world.endpoint.sessions) == 0
    assert world.plane.sent == {}


def test_reports_about_peers_that_are_gone_are_ignored() -> None:
    world = World()
    nobody = Path(Transport.UDP, ("198.51.100.9", 1))
    world.endpoint.peer_idle(9)
    world.endpoint.peer_exited(9)
    world.endpoint.key_worn(9)
    world.endpoint.peer_floated(9, nobody)
    world.endpoint.stream_opened(nobody)
    world.endpoint.stream_closed(nobody)
    assert world.log.told == []


async def test_a_running_endpoint_serves_its_timers(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    log = RecordingLog()
    world.endpoint = Endpoint(world.endpoint._keeper.terms, world.plane, log, node="gw1", refresh_s=60)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.endpoint.run)
        world.now = trio.current_time()
        world.connect()
        await trio.sleep(61)
        nursery.cancel_scope.cancel()
    assert log.told == [SUCCESS, SUCCESS]


# Renegotiation


def renegotiate_as(world: World, client: Client, tls: TlsClientContext) -> None:
    world.advance(2)
    client.connection._config = replace(client.connection._config, tls=tls)
    client.connection.renegotiate(world.now)
    world.settle()


def test_a_renewed_certificate_of_the_same_name_is_welcome() -> None:
    world = World()
    client = world.connect()
    (session,) = world.endpoint.sessions.leased
    before = session.lease
    renegotiate_as(world, client, pki().renewed("ana", "engineering"))
    assert world.plane.peers[0].active == 1
    assert session.lease is not None
    assert before is not None
    assert session.lease.identity.serial_number != before.identity.serial_number
    assert session.lease.address == before.address
    assert world.log.told == [SUCCESS]


@pytest.mark.parametrize(("name", "groups"), [("bob", ()), ("ana", ("engineering", "finance"))])
def test_another_name_or_other_groups_end_the_session(name: str, groups: tuple[str, ...]) -> None:
    world = World()
    client = world.connect()
    renegotiate_as(world, client, pki().renewed(name, *groups))
    assert world.plane.peers == {}
    assert world.log.told == [SUCCESS, ended("identity-changed")]
