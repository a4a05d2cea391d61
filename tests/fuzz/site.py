"""An endpoint with its real data plane behind loopback sockets, for what only sockets can show."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from gateway.endpoint import Endpoint
from gateway.endpoint_settings import Terms
from policy.spec import ControlChannelProtection, HandshakeLimits
from tests.unit.gateway.world import RecordingLog, make_spec, pki
from tests.unit.tunnel.knocking import SERVER_KEY, TLS_AUTH_KEY, TLS_CRYPT_KEY
from tests.unit.tunnel.plane_suite.conftest import open_plane
from tests.unit.tunnel.plane_suite.rig import DEADLINE_S, inner, settings, socket_device
from tunnel.client import ClientConfig, ClientConnection
from tunnel.control_wrap import TlsCryptWrap
from tunnel.data_channel import sealing_key
from tunnel.events import Established, KeyDerived

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from policy.spec import EndpointSpec
    from tunnel.data_keys import DataKey

__all__ = ["Site", "connect_and_send"]


def spec_with_every_protection(handshake: HandshakeLimits) -> EndpointSpec:
    channel = replace(
        make_spec().control_channel,
        accept=tuple(ControlChannelProtection),
        tls_crypt_key=TLS_CRYPT_KEY.octets,
        tls_auth_key=TLS_AUTH_KEY.octets,
        tls_crypt_v2_server_key=SERVER_KEY.octets,
    )
    return make_spec(control_channel=channel, handshake=handshake)


class Site:
    """An endpoint behind loopback sockets, and a clock that can be moved on."""

    def __init__(self, handshake: HandshakeLimits | None = None, *, plane: str = "python", workers: int = 1) -> None:
        self.spec = spec_with_every_protection(handshake or HandshakeLimits())
        plane_end, self.tun = socket_device()
        network, gateway = self.spec.client_cidr_block, self.spec.gateway_address
        self.plane = open_plane(plane, settings(network=network, gateway=gateway, workers=workers), plane_end)
        self.log = RecordingLog()
        self.skipped_s = 0.0
        self.endpoint = Endpoint(Terms.of(self.spec), self.plane, self.log, node="gw1", now=self.now)

    def now(self) -> float:
        return trio.current_time() + self.skipped_s

    @property
    def counted(self) -> int:
        """Packets that led nowhere."""
        return sum(self.plane.drops().values()) + sum(self.endpoint.admitter.ignored.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the test is over."""
        with self.tun:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.endpoint.run)
                yield
                nursery.cancel_scope.cancel()

    def assert_untouched(self) -> None:
        assert len(self.endpoint.sessions) == 0
        assert self.endpoint.admitter.half_open.total == 0
        assert self.endpoint.authorizer.pool.used == 0


async def connect_and_send(site: Site) -> bytes:
    """A genuine client over UDP: connect, send a packet to the office; give what came out of the device."""
    config = ClientConfig(
        tls=pki().client("ana", "engineering"),
        wrap_key=TlsCryptWrap(TLS_CRYPT_KEY, server=False),
        base_key=TLS_CRYPT_KEY,
    )
    connection = ClientConnection(config, reliable_transport=False, now=site.now(), unix_time=trio.current_time)
    key: DataKey | None = None
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, trio.fail_after(DEADLINE_S):
        await sock.connect(("127.0.0.1", site.plane.port))
        while True:
            for packet in connection.packets_to_send(site.now()):
                await sock.send(packet)
            while (event := connection.next_event()) is not None:
                if isinstance(event, KeyDerived):
                    key = event.key
                if isinstance(event, Established):
                    assert key is not None
                    office = inner("10.80.0.2", "10.20.0.9")
                    await sock.send(sealing_key(key, peer_id=connection.peer_id).seal(office))
                    return await trio.socket.from_stdlib_socket(site.tun).recv(65535)
            with trio.move_on_after(0.5):
                connection.receive_packet(await sock.recv(65535), site.now())
            connection.handle_timer(site.now())
