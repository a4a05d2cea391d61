from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.plane_settings import StreamLimits
from tunnel.stream_admission import StreamAdmission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunnel.plane import Path


class Door:
    """An admission on a listening socket, and what it let in."""

    def __init__(self, opened: ExitStack, limits: StreamLimits, listen: str) -> None:
        self._opened = opened
        family = socket.AF_INET6 if ":" in listen else socket.AF_INET
        server = socket.create_server((listen, 0), family=family, dualstack_ipv6=listen == "::")
        self._listener = opened.enter_context(server)
        self._listener.setblocking(False)
        self.admission = StreamAdmission(self._listener, limits)
        self.paths: list[Path] = []
        self.refusing = False

    def take(self, sock: socket.socket, path: Path) -> None:
        if self.refusing:
            raise OSError("no")
        self._opened.enter_context(sock)
        assert not sock.getblocking()
        self.paths.append(path)

    async def knock(self, source: str, to: str = "127.0.0.1") -> bool:
        """Whether a stream from this address was let in."""
        before = len(self.paths)
        sock = self._opened.enter_context(socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET))
        sock.bind((source, 0))
        sock.connect((to, self._listener.getsockname()[1]))
        with trio.fail_after(10):
            while len(self.paths) == before:
                sock.settimeout(0.001)
                try:
                    return bool(sock.recv(1))
                except TimeoutError:
                    await trio.sleep(0.001)
                except ConnectionError:
                    return False
        return True


@contextmanager
def door(limits: StreamLimits, listen: str = "127.0.0.1") -> Iterator[Door]:
    with ExitStack() as opened:
        yield Door(opened, limits, listen)


async def test_so_many_strangers_from_one_prefix_and_more_from_another(nursery: trio.Nursery) -> None:
    with door(StreamLimits(unproven_per_prefix=2)) as it:
        nursery.start_soon(it.admission.run, it.take)
        assert [await it.knock(f"127.0.0.{host}") for host in (1, 200, 3)] == [True, True, False]
        assert [await it.knock(f"127.0.1.{host}") for host in (1, 200, 3)] == [True, True, False]
        it.admission.prove(it.paths[0].stream)
        assert [await it.knock("127.0.0.3") for _ in range(2)] == [True, False]
        nursery.cancel_scope.cancel()


async def test_a_client_that_was_let_in_is_not_counted_twice(nursery: trio.Nursery) -> None:
    with door(StreamLimits(unproven=1)) as it:
        nursery.start_soon(it.admission.run, it.take)
        assert await it.knock("127.0.0.1")
        for _ in range(3):
            it.admission.prove(it.paths[0].stream)
        assert [await it.knock("127.0.0.1") for _ in range(2)] == [True, False]
        nursery.cancel_scope.cancel()


async def test_what_cannot_be_served_is_closed_and_forgotten(nursery: trio.Nursery) -> None:
    with door(StreamLimits(unproven=1)) as it:
        nursery.start_soon(it.admission.run, it.take)
        it.refusing = True
        assert not await it.knock("127.0.0.1")
        it.refusing = False
        assert await it.knock("127.0.0.1")
        nursery.cancel_scope.cancel()


async def test_numbers_are_never_used_again_and_addresses_read_as_people_write_them(nursery: trio.Nursery) -> None:
    with door(StreamLimits(), "::") as it:
        nursery.start_soon(it.admission.run, it.take)
        assert await it.knock("127.0.0.9")
        assert await it.knock("::1", "::1")
        it.admission.prove(it.paths[0].stream)
        assert await it.knock("127.0.0.9")
        assert [path.remote[0] for path in it.paths] == ["127.0.0.9", "::1", "127.0.0.9"]
        assert len({path.stream for path in it.paths}) == 3
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", [1, 2])
async def test_ipv4_strangers_of_an_ipv6_socket_count_by_their_ipv4_prefix(nursery: trio.Nursery, host: int) -> None:
    with door(StreamLimits(unproven_per_prefix=1), "::") as it:
        nursery.start_soon(it.admission.run, it.take)
        assert await it.knock(f"127.0.0.{host}")
        assert not await it.knock("127.0.0.9")
        assert await it.knock("127.0.1.9")
        nursery.cancel_scope.cancel()
