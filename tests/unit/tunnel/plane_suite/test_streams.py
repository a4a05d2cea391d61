"""TCP: frames cut anywhere, streams that misbehave, readers that are slow, closing."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.unit.tunnel.plane_suite.rig import DEADLINE_S, Rig, inner
from tunnel.plane import Drop, Path, Transport
from tunnel.plane_settings import StreamLimits
from tunnel.stream_framing import frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TARGET = "192.0.2.1"
HELLO = b"\x38hello"


async def received_before_close(stream: trio.SocketStream) -> bytes:
    """All that comes until the other side closes, or resets."""
    received = b""
    with trio.fail_after(DEADLINE_S):
        try:
            while data := await stream.receive_some(65536):
                received += data
        except trio.BrokenResourceError:
            pass
    return received


async def test_each_stream_is_a_path_of_its_own(rig: Rig) -> None:
    (one, path_one), (two, path_two) = await rig.tcp_stranger(), await rig.tcp_stranger()
    assert path_one == Path(Transport.TCP, one.remote, stream=path_one.stream)
    assert path_one.stream != path_two.stream
    await one.send(HELLO)
    assert await rig.events.wait("control") == (path_one, HELLO)
    rig.plane.send_control(path_one, [b"to one", b"more"])
    rig.plane.send_control(path_two, [b"to two"])
    assert [await one.receive_packet(), await one.receive_packet()] == [b"to one", b"more"]
    assert await two.receive_packet() == b"to two"


async def test_frames_cut_anywhere_come_out_whole(rig: Rig) -> None:
    client = await rig.tcp_client()
    wire = frame(client.packet(TARGET, b"one")) + frame(HELLO) + frame(client.packet(TARGET, b"two"))
    for octet in wire:
        await client.stream.send_all(bytes([octet]))
    assert (await rig.from_tun())[20:] == b"one"
    assert (await rig.from_tun())[20:] == b"two"
    assert (await rig.events.wait("control"))[1] == HELLO


@pytest.mark.parametrize("wire", [b"\x00\x00", b"\xff\xff" + bytes(100)], ids=["length 0", "length 65535"])
async def test_a_stream_out_of_step_is_closed(rig: Rig, wire: bytes) -> None:
    client, path = await rig.tcp_stranger()
    bystander = await rig.tcp_client()
    await client.stream.send_all(wire)
    assert await rig.events.wait("closed") == (path,)
    assert await received_before_close(client.stream) == b""
    await rig.expect_passage(bystander)


async def test_data_on_a_stream_without_a_client_is_dropped(rig: Rig) -> None:
    owner = await rig.tcp_client()
    thief, _ = await rig.tcp_stranger()
    await thief.send(owner.packet(TARGET))
    await rig.until(lambda: rig.plane.drops()[Drop.UNKNOWN_PEER] == 1)
    await rig.expect_passage(owner)


async def test_a_client_is_only_valid_on_its_own_stream(rig: Rig) -> None:
    one, two = await rig.tcp_client(), await rig.tcp_client()
    await rig.expect_drops(two, [one.packet(TARGET)], UNKNOWN_PEER=1)
    await rig.expect_passage(one)


async def test_a_stream_is_that_of_the_client_let_in_on_it_last(rig: Rig) -> None:
    first = await rig.tcp_client()
    (path,) = rig.events.of("opened")[0]
    second = first.another_on_its_stream(200)
    rig.admit(second, path)
    await rig.expect_drops(second, [first.packet(TARGET)], UNKNOWN_PEER=1)
    await rig.to_tun(inner(TARGET, first.inside, b"lost"), inner(TARGET, second.inside, b"found"))
    assert (await second.receive())[20:] == b"found"
    assert rig.plane.remove_peer(first.peer_id).drops == {Drop.SEND_FAILED: 1}
    await rig.expect_passage(second)
    await second.stream.aclose()
    assert await rig.events.wait("closed") == (path,)
    rig.plane.remove_peer(second.peer_id)


async def test_removing_a_client_leaves_its_stream_for_control(rig: Rig) -> None:
    client = await rig.tcp_client()
    (path,) = rig.events.of("opened")[0]
    late = client.packet(TARGET)
    rig.plane.remove_peer(client.peer_id)
    await client.send(late, HELLO)
    assert await rig.events.wait("control") == (path, HELLO)
    assert rig.plane.drops()[Drop.UNKNOWN_PEER] == 1
    rig.plane.send_control(path, [b"farewell"])
    assert await client.receive_packet() == b"farewell"


async def test_a_stream_that_its_client_closes_is_reported(rig: Rig) -> None:
    client = await rig.tcp_client()
    (path,) = rig.events.of("opened")[0]
    await client.stream.aclose()
    assert await rig.events.wait("closed") == (path,)
    rig.plane.send_control(path, [b"to nobody"])
    rig.plane.close_stream(path)
    await rig.to_tun(inner(TARGET, client.inside))
    await rig.until(lambda: rig.plane.traffic(client.peer_id).drops == {Drop.SEND_FAILED: 1})
    rig.plane.remove_peer(client.peer_id)


async def test_data_for_a_stream_that_is_being_closed_is_counted_as_lost(rig: Rig) -> None:
    client = await rig.tcp_client()
    (path,) = rig.events.of("opened")[0]
    rig.plane.close_stream(path)
    await rig.to_tun(inner(TARGET, client.inside))
    await rig.until(lambda: rig.plane.traffic(client.peer_id).drops == {Drop.SEND_FAILED: 1})


async def test_closing_delivers_what_was_sent_before(rig: Rig) -> None:
    client, path = await rig.tcp_stranger()
    packets = [bytes([number]) * 1000 for number in range(200)]
    # Unread octets on our side would turn the close into a reset that destroys what is under way.
    await client.send(HELLO)
    await rig.events.wait("control")
    rig.plane.send_control(path, packets)
    rig.plane.close_stream(path)
    await client.send(HELLO)
    assert [await client.receive_packet() for _ in packets] == packets
    with pytest.raises(EOFError):
        await client.receive_packet()
    await client.stream.aclose()
    assert await rig.events.wait("closed") == (path,)


async def test_closing_does_not_wait_for_a_client_that_never_reads(start: Callable[..., Awaitable[Rig]]) -> None:
    rig = await start(streams=StreamLimits(close_timeout_s=0.1))
    client, path = await rig.tcp_stranger()
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    rig.plane.send_control(path, [bytes(9000)] * 1000)
    rig.plane.close_stream(path)
    assert await rig.events.wait("closed") == (path,)


async def test_a_slow_reader_loses_packets_and_holds_up_nobody(rig: Rig) -> None:
    slow, brisk = await rig.tcp_client(), await rig.tcp_client()
    for client in (slow, brisk):
        await client.send(HELLO)
    sent = 0
    while Drop.BACKLOG not in rig.plane.traffic(slow.peer_id).drops:
        await rig.to_tun(*[inner(TARGET, slow.inside, sent.to_bytes(4, "big") + bytes(1396))] * 10)
        await rig.to_tun(inner(TARGET, brisk.inside, sent.to_bytes(4, "big")))
        assert (await brisk.receive())[20:24] == sent.to_bytes(4, "big")
        sent += 1
        assert sent < 10_000, "the backlog is not bounded"
    # Control packets pass nevertheless, behind whole frames of what was accepted.
    (path,) = rig.events.of("opened")[0]
    rig.plane.send_control(path, [b"\x20control"])
    while (packet := await slow.receive_packet()) != b"\x20control":
        slow.open(packet)
    await rig.to_tun(inner(TARGET, slow.inside, b"again"))
    assert (await slow.receive())[20:] == b"again"
    traffic = rig.plane.traffic(slow.peer_id)
    assert traffic.egress_packets + traffic.drops[Drop.BACKLOG] == sent * 10 + 1


async def test_control_packets_do_not_pile_up_without_bound(rig: Rig) -> None:
    client, path = await rig.tcp_stranger()
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(10_000):
        rig.plane.send_control(path, [bytes(1200)])
    assert await rig.events.wait("closed") == (path,)


async def test_a_stream_must_say_something_soon(start: Callable[..., Awaitable[Rig]]) -> None:
    rig = await start(streams=StreamLimits(first_packet_timeout_s=0.2))
    talker, _ = await rig.tcp_stranger()
    await talker.send(HELLO)
    silent, path = await rig.tcp_stranger()
    dripping, _ = await rig.tcp_stranger()
    await dripping.stream.send_all(frame(HELLO)[:-1])
    await rig.events.wait("closed", 2)
    assert (path,) in rig.events.of("closed")
    assert await received_before_close(silent.stream) == b""
    assert await received_before_close(dripping.stream) == b""
    await talker.send(HELLO)
    assert (await rig.events.wait("control", 2))[1] == HELLO


@pytest.mark.parametrize(
    "wire", [b"\x48\xff\xff\xff" + bytes(40), b"\x48\0\0\7" + bytes(40), b"\x31" + bytes(40), b"\xff"]
)
async def test_data_and_rubbish_do_not_keep_a_strangers_stream(
    start: Callable[..., Awaitable[Rig]], wire: bytes
) -> None:
    rig = await start(streams=StreamLimits(first_packet_timeout_s=0.2))
    client, path = await rig.tcp_stranger()
    await client.send(wire)
    assert await rig.events.wait("closed") == (path,)


async def test_a_clients_stream_is_kept_whatever_it_sends(start: Callable[..., Awaitable[Rig]]) -> None:
    rig = await start(streams=StreamLimits(first_packet_timeout_s=0.2))
    client = await rig.tcp_client()
    _, path = await rig.tcp_stranger()
    assert await rig.events.wait("closed") == (path,)
    await rig.expect_passage(client)


@pytest.mark.parametrize(
    "limits", [StreamLimits(unproven=3), StreamLimits(unproven_per_prefix=3)], ids=["all", "prefix"]
)
async def test_strangers_hold_so_many_streams_and_no_more(
    start: Callable[..., Awaitable[Rig]], limits: StreamLimits
) -> None:
    rig = await start(streams=limits)
    strangers = [await rig.tcp_stranger() for _ in range(3)]
    with trio.fail_after(DEADLINE_S):
        refused = await trio.open_tcp_stream("127.0.0.1", rig.port)
        with refused.socket:
            assert await received_before_close(refused) == b""
    # One that goes, and one that is let in, make room.
    await strangers[0][0].stream.aclose()
    await rig.events.wait("closed")
    client = await rig.tcp_client()
    await rig.tcp_stranger()
    await rig.expect_passage(client)


async def test_a_reset_ends_one_stream_only(rig: Rig) -> None:
    one, two = await rig.tcp_client(), await rig.tcp_client()
    one.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    one.stream.socket.close()
    assert await rig.events.wait("closed") == rig.events.of("opened")[0]
    await rig.expect_passage(two)
