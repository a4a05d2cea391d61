"""A thousand clients against one front door: they connect, move packets, change keys and move packets again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.unit.tunnel.link import Link, client_tls, server_config
from tunnel.client import ClientConfig
from tunnel.data_channel import OpeningKey, SealingKey, opening_key, sealing_key
from tunnel.data_keys import Cipher
from tunnel.front_door import FrontDoor, FrontDoorKeys

if TYPE_CHECKING:
    from tunnel.events import KeyDerived

CLIENTS = 1000
CIPHERS = tuple(Cipher)


def channel(event: KeyDerived) -> tuple[SealingKey, OpeningKey]:
    return sealing_key(event.key, peer_id=5), opening_key(event.key)


def move_packets(link: Link) -> None:
    """Both ways, under the newest key."""
    client_seal, client_open = channel(link.derived(link.client_events)[-1])
    server_seal, server_open = channel(link.derived(link.server_events)[-1])
    for size in (1, 64, 1400):
        payload = os.urandom(size)
        assert server_open.open_untrusted(client_seal.seal(payload)) == payload
        assert client_open.open_untrusted(server_seal.seal(payload)) == payload


def test_a_thousand_clients_connect_renegotiate_and_move_packets() -> None:
    door = FrontDoor(FrontDoorKeys(plain=True), max_replies=CLIENTS)
    config = server_config(data_ciphers=CIPHERS)
    links = [
        Link(ClientConfig(tls=client_tls(), ciphers=(CIPHERS[n % len(CIPHERS)].value,)), config=config, seed=n)
        for n in range(CLIENTS)
    ]
    for link in links:
        link.door = door
        link.run(2)
        move_packets(link)
    for link in links:
        link.client.renegotiate(link.now)
        link.run(2)
        link.assert_same_keys(2)
        move_packets(link)
    sessions = {link.server.session_id for link in links if link.server is not None}
    assert len(sessions) == CLIENTS
