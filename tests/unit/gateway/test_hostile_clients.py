"""Clients that stop, stall, flood or repeat themselves: they lose their place, and nobody else does."""

from __future__ import annotations

import pytest
import structlog.testing

from gateway.admission import FAILURES_PER_SOURCE, NOT_RECORDED
from gateway.half_open import REST_S
from policy.spec import HandshakeLimits
from tests.unit.gateway.world import Client, World, make_spec, pki
from tunnel.control_messages import EXIT, PUSH_REQUEST, build_message
from tunnel.control_wrap import PlainWrap
from tunnel.events import CloseReason
from tunnel.plane import Path, Transport
from tunnel.replay_window import ReplayId
from tunnel.wire import MAX_CONTROL_PACKET, ControlPacket, Opcode

SUCCESS = ("connection-attempt", "successful", "NA")
NOT_TLS = ("connection-attempt", "failed", "no-common-tls-version")
TIMED_OUT = ("connection-attempt", "failed", "handshake-timeout")
WRONG_KEY = ("connection-attempt", "failed", "wrong-control-key")
TOO_MANY = ("connection-attempt", "failed", "too-many-handshakes")
LONGER_THAN_A_HANDSHAKE_S = 70


def assert_nothing_left(world: World) -> None:
    assert len(world.endpoint.sessions) == 0
    assert world.endpoint.sessions._by_path == {}
    assert world.endpoint.admitter.half_open.total == 0
    assert world.endpoint.admitter.half_open._by_network == {}
    assert world.endpoint.authorizer.pool.used == 0
    assert world.plane.peers == {}
    assert len(world.endpoint._keeper.timers) == 0


def seal(packet: ControlPacket) -> bytes:
    """An unprotected control packet."""
    return PlainWrap().seal(packet, ReplayId(0, 1))


def cut_off_after(client: Client, packets: int) -> None:
    """The client's packets stop arriving after so many of them; it still hears."""
    remaining = packets
    leaving = client.connection.packets_to_send

    def limited(now: float) -> list[bytes]:
        nonlocal remaining
        sent = leaving(now)[: max(remaining, 0)]
        remaining -= len(sent)
        return sent

    client.connection.packets_to_send = limited  # type: ignore[method-assign]


@pytest.mark.parametrize("stream", [0, 3], ids=["udp", "tcp"])
@pytest.mark.parametrize("packets", range(1, 12))
def test_a_client_that_stops_at_any_step_leaves_nothing_behind(packets: int, stream: int) -> None:
    world = World()
    client = world.client(stream=stream)
    cut_off_after(client, packets)
    world.settle()
    sessions, in_flight = len(world.endpoint.sessions), world.endpoint.admitter.half_open.total
    established = SUCCESS in world.log.told
    assert sessions == in_flight + established
    world.advance(LONGER_THAN_A_HANDSHAKE_S)
    if established:
        assert world.endpoint.admitter.half_open.total == 0
        return
    assert world.log.told == [TIMED_OUT] * sessions
    assert all("60 s" in str(record.failure_reason) for record in world.log.records)
    assert_nothing_left(world)
    assert world.connect(pki().client("bob")).established


def test_there_is_a_step_at_which_stopping_costs_a_session() -> None:
    """The test above would mean nothing if its clients never got so far."""
    told = []
    for packets in range(1, 12):
        world = World()
        cut_off_after(world.client(), packets)
        world.settle()
        world.advance(LONGER_THAN_A_HANDSHAKE_S)
        told.append(world.log.told[:1])
    assert [] in told
    assert [TIMED_OUT] in told
    assert [SUCCESS] in told


def test_a_flood_of_handshakes_with_good_cookies_is_bounded_by_prefix_and_in_all() -> None:
    limits = HandshakeLimits(max_half_open=50, max_half_open_per_prefix=20, max_stateless_replies=10_000)
    world = World(make_spec(handshake=limits))
    for network in range(4):
        for host in range(100):
            client = world.client()
            client.path = Path(Transport.UDP, (f"203.0.{network}.{host}", 1000))
            client.step()  # the reset
            client.step()  # the cookie
            client.silent = True
            half_open = world.endpoint.admitter.half_open
            assert half_open.total <= 50
            assert max(half_open._by_network.values()) <= 20
    assert world.endpoint.admitter.half_open.total == 50
    assert len(world.endpoint.sessions) == 50
    assert world.log.told == [TOO_MANY] * 4  # once for each prefix
    world.clients.clear()
    world.advance(LONGER_THAN_A_HANDSHAKE_S)
    assert world.log.told.count(TIMED_OUT) == 50
    assert_nothing_left(world)
    assert world.connect().established


def fail_at_once(world: World, path: Path, number: int) -> None:
    """Bring the cookie back with something that is not TLS, and acknowledge the alert."""
    ours = number.to_bytes(8, "big")
    world.endpoint.control_received(path, seal(ControlPacket(Opcode.HARD_RESET_CLIENT_V2, 0, ours, message_id=0)))
    (answer,) = world.plane.sent.pop(path)
    theirs = PlainWrap().open_untrusted(answer)[0].session_id
    rubbish = ControlPacket(Opcode.CONTROL_V1, 0, ours, (0,), theirs, message_id=1, payload=b"not TLS at all")
    world.endpoint.control_received(path, seal(rubbish))
    world.endpoint.control_received(path, seal(ControlPacket(Opcode.ACK_V1, 0, ours, (1,), theirs)))
    world.plane.sent.pop(path, None)


def test_handshakes_that_fail_at_once_are_bounded_by_prefix_and_time() -> None:
    world = World(make_spec(handshake=HandshakeLimits(max_half_open_per_prefix=20, max_stateless_replies=10_000)))
    for number in range(1, 101):
        fail_at_once(world, Path(Transport.UDP, ("203.0.113.1", 1000 + number)), number)
    assert world.log.told.count(NOT_TLS) == 20
    assert world.log.told.count(TOO_MANY) == 1
    assert_nothing_left(world)
    assert world.connect().established
    world.advance(REST_S + 1)
    fail_at_once(world, Path(Transport.UDP, ("203.0.113.1", 5000)), 5000)
    assert world.log.told.count(NOT_TLS) == 21


def test_failed_handshakes_do_not_fill_the_log() -> None:
    limits = HandshakeLimits(max_half_open_per_prefix=1000, max_stateless_replies=10_000)
    world = World(make_spec(handshake=limits))
    with structlog.testing.capture_logs() as logs:
        for number in range(1, 901):
            fail_at_once(world, Path(Transport.UDP, (f"203.0.{number % 9}.1", number)), number)
    assert world.log.told.count(NOT_TLS) == 9 * FAILURES_PER_SOURCE
    assert len(logs) == 9 * FAILURES_PER_SOURCE
    assert world.endpoint.admitter.ignored[NOT_RECORDED] == 900 - 9 * FAILURES_PER_SOURCE
    world.advance(61)
    fail_at_once(world, Path(Transport.UDP, ("203.0.1.1", 5000)), 5000)
    assert world.log.told.count(NOT_TLS) == 9 * FAILURES_PER_SOURCE + 1


def test_whoever_has_proved_a_name_is_recorded_each_time() -> None:
    world = World(make_spec(max_clients=1))
    world.connect()
    for _ in range(FAILURES_PER_SOURCE + 5):
        world.connect(pki().client("bob"))
        world.advance(6)
    refused = ("connection-attempt", "failed", "client-limit")
    assert world.log.told.count(refused) == FAILURES_PER_SOURCE + 5


def test_a_prefix_that_is_full_does_not_keep_others_out() -> None:
    world = World(make_spec(handshake=HandshakeLimits(max_half_open=50, max_half_open_per_prefix=2)))
    for host in range(5):
        client = world.client()
        client.path = Path(Transport.UDP, (f"203.0.113.{host}", 1000))
        client.step()
        client.step()
        client.silent = True
    assert world.connect().established


def test_resets_without_end_on_one_stream_are_bounded_like_all_others() -> None:
    world = World(make_spec(handshake=HandshakeLimits(max_half_open_per_prefix=5)))
    path = Path(Transport.TCP, ("203.0.113.1", 1000), stream=9)
    for number in range(1, 500):
        reset = ControlPacket(Opcode.HARD_RESET_CLIENT_V2, 0, number.to_bytes(8, "big"), message_id=0)
        world.endpoint.control_received(path, seal(reset))
    assert len(world.endpoint.sessions) == 5
    world.endpoint.stream_closed(path)
    assert_nothing_left(world)


@pytest.mark.parametrize("size", [0, 1, 9, 14, MAX_CONTROL_PACKET, MAX_CONTROL_PACKET + 1, 65_535])
@pytest.mark.parametrize("opcode", [*range(3, 12), 31])
def test_packets_of_any_length_and_opcode_move_nothing_of_a_live_session(opcode: int, size: int) -> None:
    world = World()
    client = world.connect()
    packet = (bytes([opcode << 3]) + client.connection.session_id + bytes(size))[: max(size, 1)]
    for path in (client.path, Path(Transport.UDP, ("203.0.113.9", 1))):
        world.endpoint.control_received(path, packet)
    assert set(world.log.told) <= {SUCCESS, WRONG_KEY}
    assert len(world.endpoint.sessions) == 1
    client.connection.renegotiate(world.now)
    world.advance(2)
    (held,) = world.plane.peers.values()
    assert held.active == 1


def test_a_renegotiation_storm_costs_one_handshake_a_second_and_never_more_keys_than_there_are_ids() -> None:
    world = World()
    client = world.connect()
    for _ in range(100):
        client.connection.renegotiate(world.now)
        world.settle()
        (held,) = world.plane.peers.values()
        assert len(held.keys) <= 2
    for _ in range(20):
        client.connection.renegotiate(world.now)
        world.advance(2)
        (held,) = world.plane.peers.values()
        assert len(held.keys) <= 8
    assert world.log.told == [SUCCESS]


def test_a_renegotiation_that_stalls_ends_its_own_session_only() -> None:
    world = World()
    stalling, bystander = world.connect(), world.connect(pki().client("bob"))
    world.now += 2
    stalling.connection.renegotiate(world.now)
    stalling.step()
    stalling.silent = True
    world.advance(LONGER_THAN_A_HANDSHAKE_S)
    assert ("connection-reset", "NA", "handshake-timeout") in world.log.told
    assert len(world.plane.peers) == 1
    bystander.connection.renegotiate(world.now)
    world.advance(2)
    assert [held.active for held in world.plane.peers.values()] == [1]


def test_requests_and_acknowledgements_without_end_get_no_answers() -> None:
    world = World()
    client = world.connect()
    for number in range(500):
        client.connection._keys[0].tls.write(build_message(PUSH_REQUEST))
        acks = tuple(range(number, number + 8))
        packet = ControlPacket(
            Opcode.ACK_V1, 0, client.connection.session_id, acks, client.connection.remote_session_id
        )
        world.endpoint.control_received(client.path, seal(packet))
        assert world.plane.sent[client.path] == []
    world.settle()
    assert len([option for option in client.connection.options if option.startswith("ifconfig ")]) == 1
    assert world.log.told == [SUCCESS]


def test_a_client_that_says_exit_again_and_again_leaves_once() -> None:
    world = World()
    client = world.connect()
    client.connection._keys[0].tls.write(build_message(EXIT) * 1000)
    world.settle()
    for _ in range(10):
        client.connection._keys[0].tls.write(build_message(EXIT))
        world.settle()
    world.advance(6)
    assert world.log.told == [SUCCESS, ("connection-reset", "NA", CloseReason.CLIENT_EXIT.value)]
    assert_nothing_left(world)


def test_a_control_message_of_64_kilobytes_ends_its_sender() -> None:
    world = World()
    client, bystander = world.connect(), world.connect(pki().client("bob"))
    client.connection._keys[0].tls.write(b"A" * 65_536)
    world.advance(10)
    assert ("connection-reset", "NA", "protocol-error") in world.log.told
    assert len(world.plane.peers) == 1
    assert bystander.closed is None
