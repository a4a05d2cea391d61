"""TCP clients that are slow, or never finish what they begin, against an endpoint with its real data plane."""

from __future__ import annotations

import json

import pytest
import trio

from policy.spec import HandshakeLimits
from tests.fuzz.site import Site, connect_and_send
from tests.unit.gateway.world import pki
from tests.unit.tunnel.plane_suite.rig import DEADLINE_S
from tunnel.client import ClientConfig, ClientConnection
from tunnel.events import Established
from tunnel.stream_framing import StreamFramer, frame


def new_client(site: Site) -> ClientConnection:
    config = ClientConfig(tls=pki().client("bob"))
    return ClientConnection(config, reliable_transport=True, now=site.now(), unix_time=trio.current_time)


async def until_closed(stream: trio.SocketStream) -> None:
    with trio.fail_after(DEADLINE_S):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass


async def test_a_client_that_sends_one_octet_at_a_time_connects_all_the_same() -> None:
    site = Site()
    async with site.running(), await trio.open_tcp_stream("127.0.0.1", site.plane.port) as stream:
        connection, framer = new_client(site), StreamFramer()
        established = False
        with trio.fail_after(DEADLINE_S):
            while not established:
                for octet in b"".join(map(frame, connection.packets_to_send(site.now()))):
                    await stream.send_all(bytes([octet]))
                for packet in framer.feed_untrusted(bytes(await stream.receive_some())):
                    connection.receive_packet(packet, site.now())
                while (event := connection.next_event()) is not None:
                    established = established or isinstance(event, Established)
    assert [record.common_name for record in site.log.records[:1]] == ["bob"]


@pytest.mark.parametrize("packets", [1, 2])
async def test_a_client_that_never_finishes_a_frame_loses_its_place(packets: int) -> None:
    site = Site(HandshakeLimits(timeout_s=1))
    async with site.running(), await trio.open_tcp_stream("127.0.0.1", site.plane.port) as stream:
        connection, framer = new_client(site), StreamFramer()
        for number in range(packets):
            (first, *_) = connection.packets_to_send(site.now())
            octets = frame(first)
            await stream.send_all(octets if number < packets - 1 or packets == 1 else octets[:-1])
            if number < packets - 1:
                for packet in framer.feed_untrusted(bytes(await stream.receive_some())):
                    connection.receive_packet(packet, site.now())
        if packets == 1:
            await stream.send_all(b"\x04\x00half a frame")
        await until_closed(stream)
        site.assert_untouched()
        (record,) = site.log.records
        assert json.loads(record.as_json())["reason-code"] == "handshake-timeout"
        assert (await connect_and_send(site))[16:20] == bytes([10, 20, 0, 9])


@pytest.mark.parametrize(
    "wire", [b"\0\0", b"\xff\xff" + bytes(100), frame(b"\x30" + bytes(100)) * 50, b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_a_stream_that_is_not_openvpn_costs_nothing_and_ends(wire: bytes) -> None:
    site = Site()
    async with site.running(), await trio.open_tcp_stream("127.0.0.1", site.plane.port) as stream:
        await stream.send_all(wire)
        if wire[:2] in (b"\0\0", b"\xff\xff"):
            await until_closed(stream)
        assert (await connect_and_send(site))[16:20] == bytes([10, 20, 0, 9])
    assert {record.common_name for record in site.log.records} == {"ana"}
