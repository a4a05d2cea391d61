"""Connecting crowds, to a server that is a thread with a socket on loopback."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.bench.load.connector import Profile, connect
from tests.unit.tunnel.link import PUSH, credentials, server_config
from tunnel.connection import ServerConnection
from tunnel.data_keys import Cipher
from tunnel.events import AuthenticationRequested, CloseReason, KeyDerived
from tunnel.front_door import Admission, FrontDoor, FrontDoorKeys, Reply
from tunnel.static_key import build_static_key, generate_static_key, parse_static_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tunnel.data_keys import DataKey

CLIENTS = 5


class Server:
    """Lets everybody in, or nobody."""

    def __init__(self, tls_crypt: Path, *, lets_in: bool = True) -> None:
        self.keys: list[DataKey] = []
        self._lets_in = lets_in
        self._key = parse_static_key(tls_crypt.read_text())
        self._door = FrontDoor(FrontDoorKeys(tls_crypt=self._key))
        self._connections: dict[Any, ServerConnection] = {}
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.settimeout(0.05)
        self.address: tuple[str, int] = self._sock.getsockname()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._sock.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                packet, address = self._sock.recvfrom(4096)
            except TimeoutError:
                continue
            self._take(packet, address, time.monotonic())

    def _take(self, packet: bytes, address: tuple[str, int], now: float) -> None:
        connection = self._connections.get(address)
        if connection is not None:
            connection.receive_packet(packet, now)
        else:
            match self._door.receive_datagram_untrusted(packet, address, now, time.time()):
                case Reply(answer):
                    self._sock.sendto(answer, address)
                    return
                case Admission() as admission:
                    connection = self._connections[address] = ServerConnection(
                        server_config(), admission, reliable_transport=False, now=now, unix_time=time.time
                    )
                case _:
                    return
        self._decide(connection, now)
        for answer in connection.packets_to_send(now):
            self._sock.sendto(answer, address)

    def _decide(self, connection: ServerConnection, now: float) -> None:
        while (event := connection.next_event()) is not None:
            if isinstance(event, AuthenticationRequested) and self._lets_in:
                connection.authorize(PUSH, now)
            elif isinstance(event, AuthenticationRequested):
                connection.refuse(CloseReason.AUTHENTICATION_FAILED, "Not today.", now)
            elif isinstance(event, KeyDerived):
                self.keys.append(event.key)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("material")
    found = credentials()
    for name, octets in (
        ("ca.crt", found.ca),
        ("bench.crt", found.client_certificate),
        ("bench.key", found.client_key),
    ):
        (directory / name).write_bytes(octets)
    (directory / "tls-crypt.key").write_text(build_static_key(generate_static_key()))
    return directory


@contextmanager
def serving(material: Path, *, lets_in: bool = True) -> Iterator[Server]:
    server = Server(material / "tls-crypt.key", lets_in=lets_in)
    try:
        yield server
    finally:
        server.stop()


def test_everybody_connects_with_the_key_that_the_server_has(material: Path) -> None:
    with serving(material) as server:
        crowd = connect(Profile(server.address, material, "CHACHA20-POLY1305"), CLIENTS, parallel=2)
    assert crowd.failures == []
    assert len(crowd.connected) == len(crowd.took_s) == CLIENTS
    assert all(0 < took <= crowd.seconds for took in crowd.took_s)
    assert {client.key.send.cipher for client in crowd.connected} == {key.receive.cipher for key in server.keys}
    for client in crowd.connected:
        assert client.key.cipher is Cipher.CHACHA20_POLY1305
        assert (client.peer_id, client.inside) == (PUSH.peer_id, PUSH.address)
        client.sock.close()


def test_a_rate_is_not_exceeded(material: Path) -> None:
    with serving(material) as server:
        crowd = connect(Profile(server.address, material, "AES-256-GCM"), CLIENTS, rate=20)
    assert len(crowd.connected) == CLIENTS
    assert crowd.seconds >= (CLIENTS - 1) / 20
    for client in crowd.connected:
        client.sock.close()


def test_who_is_turned_away_is_counted_with_the_reason(material: Path) -> None:
    with serving(material, lets_in=False) as server:
        crowd = connect(Profile(server.address, material, "AES-256-GCM"), CLIENTS)
    assert crowd.connected == []
    assert crowd.failures == CLIENTS * ["AUTH_FAILED,Not today."]
