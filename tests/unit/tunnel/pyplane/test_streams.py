"""What a stream leaves behind when it ends while a client has not read everything."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from tunnel.plane import Path, Transport
from tunnel.plane_settings import StreamLimits
from tunnel.pyplane.streams import Stream

MUCH = [bytes(10_000)] * 100


def take(packet: bytes, stream: Stream) -> None:
    """Nobody listens."""


def flush() -> None:
    """Nothing waits."""


@pytest.mark.parametrize("how", ["the client says it sends no more", "the client is gone", "the gateway cuts it off"])
async def test_a_stream_that_ends_with_a_backlog_leaves_no_task_behind(how: str) -> None:
    # Which of two tasks runs first is left to chance by trio: often enough, both orders come up.
    for _ in range(20):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs, trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                stream = Stream(ours, Path(Transport.TCP, ("192.0.2.1", 1), stream=1), StreamLimits(), nursery)
                nursery.start_soon(stream.run, take, flush)
                stream.send(MUCH)
                await trio.testing.wait_all_tasks_blocked()
                if how == "the gateway cuts it off":
                    stream.abort()
                elif how == "the client is gone":
                    theirs.close()
                else:
                    theirs.shutdown(socket.SHUT_WR)
