"""A connection meets what its client's address sends: forged, replayed, or authentic and wrong.

Authentic packets are built with the real protections, so that what is wrong with them lies behind the HMAC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.strategies import authentic_packets, damaged, rubbish
from tests.unit.tunnel.link import Link, server_config
from tests.unit.tunnel.test_connection import client_config, protections
from tunnel.events import Closed, Established
from tunnel.reliability import MAX_QUEUED, RECEIVE_WINDOW
from tunnel.wire import MAX_CONTROL_PACKET, WKC_OPCODES, ControlPacket

if TYPE_CHECKING:
    from tunnel.connection import ServerConnection

any_protection = st.sampled_from(["none", "tls-auth", "tls-crypt", "tls-crypt-v2"])


def half_way(protection: str, *, reliable: bool, steps: int) -> Link:
    """A client that has sent `steps` packets, all of which arrived."""
    keys, settings = protections()[protection]
    link = Link(client_config(**settings), config=server_config(), door_keys=keys, reliable=reliable)
    remaining = steps
    send = link._send

    def stop_in_time(packet: bytes, *, to_server: bool) -> None:
        nonlocal remaining
        remaining -= to_server
        if remaining >= 0:
            send(packet, to_server=to_server)

    link._send = stop_in_time  # type: ignore[method-assign]
    link.run(0.5)
    return link


def server_of(link: Link) -> ServerConnection:
    assert link.server is not None
    return link.server


def sealed(link: Link, packet: ControlPacket) -> bytes:
    """A packet that the client's own protection vouches for."""
    data = link.client._wrap_for(packet.key_id).wrap(packet, link.unix_time())
    client_key = link.client._config.client_key
    return data + client_key.wkc if client_key is not None and packet.opcode in WKC_OPCODES else data


def attack(link: Link, data: st.DataObject, protection: str) -> None:
    """A few hostile packets, then time to react."""
    server = server_of(link)
    genuine = st.deferred(
        lambda: authentic_packets(
            link.client.session_id,
            server.session_id,
            st.one_of(
                st.binary(max_size=80), st.sampled_from([b"", b"\x16\x03\x01\x40\x00", bytes(2000), bytes(9000)])
            ),
        )
    )
    for _ in range(data.draw(st.integers(1, 6), label="packets")):
        packet = sealed(link, data.draw(genuine))
        packet = data.draw(st.one_of(st.just(packet), damaged(packet), rubbish()), label=protection)
        for _ in range(data.draw(st.integers(1, 2))):
            server.receive_packet(packet, link.now)
            assert_bounded(server)
        if data.draw(st.booleans()):
            server.packets_to_send(link.now)


def assert_bounded(server: ServerConnection) -> None:
    """What a connection keeps for its client has a bound."""
    assert len(server._keys) <= 2
    assert len(server._events) <= 8
    for key in server._keys.values():
        reliability = key.reliability
        assert len(reliability._early) <= RECEIVE_WINDOW
        assert all(len(packet.payload) <= MAX_CONTROL_PACKET for packet in reliability._early.values())
        assert len(reliability._queue) <= MAX_QUEUED
        assert len(reliability._pending_acks) <= 2 * RECEIVE_WINDOW


def let_it_end(link: Link) -> None:
    """Nobody says anything any more: the connection acts on its timers alone."""
    server = server_of(link)
    for _ in range(200):
        while server.next_event() is not None:
            pass
        server.packets_to_send(link.now)
        timer = server.get_timer()
        if timer is None or timer > link.now + 1000:
            return
        link.now = max(link.now, timer)
        server.handle_timer(link.now)
    raise AssertionError("its timers never stop")


@given(protection=any_protection, reliable=st.booleans(), data=st.data(), steps=st.integers(2, 8))
def test_a_handshake_survives_or_ends_but_never_raises_or_grows(
    protection: str, reliable: bool, data: st.DataObject, steps: int
) -> None:
    """Before establishment any packet may end the handshake, for one reason; none raises, and memory is bounded."""
    link = half_way(protection, reliable=reliable, steps=steps)
    if link.server is None:
        return
    attack(link, data, protection)
    server = server_of(link)
    seen = list(server._events) + link.server_events
    let_it_end(link)
    assert sum(isinstance(event, Closed) for event in seen) <= 1
    assert server.is_closed or Established() in seen


@given(protection=any_protection, reliable=st.booleans(), data=st.data())
def test_an_established_connection_survives_or_ends_but_never_raises_or_grows(
    protection: str, reliable: bool, data: st.DataObject
) -> None:
    """After establishment as before; and a connection that did not end still answers its client's renegotiation."""
    keys, settings = protections()[protection]
    link = Link(client_config(**settings), config=server_config(), door_keys=keys, reliable=reliable)
    link.run(0.5)
    assert Established() in link.server_events
    attack(link, data, protection)
    let_it_end(link)
    assert len(link.derived(link.server_events)) == 1


@given(protection=any_protection, data=st.data())
def test_forgeries_move_nothing_but_a_counter(protection: str, data: st.DataObject) -> None:
    """Packets that are not authentic neither change an established connection nor get an answer."""
    if protection == "none":
        forgery = data.draw(st.binary(max_size=60).filter(lambda octets: octets[1:9] != bytes(8)))
    else:
        forgery = data.draw(rubbish())
    keys, settings = protections()[protection]
    link = Link(client_config(**settings), config=server_config(), door_keys=keys)
    link.run(0.5)
    server = server_of(link)
    server.packets_to_send(link.now)
    server.receive_packet(forgery, link.now)
    assert server.packets_to_send(link.now) == []
    assert server.next_event() is None
    link.client.renegotiate(link.now + 2)
    link.run(3)
    link.assert_same_keys(2)
