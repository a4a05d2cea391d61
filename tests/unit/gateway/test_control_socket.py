import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from gateway.control_socket import ControlError, ControlServer, ask


async def handle(request: Mapping[str, Any]) -> Any:
    match request:
        case {"request": "echo"}:
            return request
        case {"request": "crash"}:
            raise ZeroDivisionError
        case {"request": "unspeakable"}:
            return {"answer": object()}
        case {"request": "wait"}:
            await trio.sleep(1)
            return "done"
    raise ControlError("there is no such request")


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(path, handle).run)
        yield
        nursery.cancel_scope.cancel()


async def exchange(path: Path, sent: bytes) -> bytes:
    stream = await trio.open_unix_socket(path)
    async with stream:
        await stream.send_all(sent)
        return b"".join([piece async for piece in stream])


async def test_a_request_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket"):
        result = await trio.to_thread.run_sync(ask, tmp_path / "socket", {"request": "echo", "id": "x"})
    assert result == {"request": "echo", "id": "x"}


async def test_an_error_reaches_the_person_as_a_sentence(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket"):
        with pytest.raises(ControlError, match="no such request"):
            await trio.to_thread.run_sync(ask, tmp_path / "socket", {"request": "nonsense"})


@pytest.mark.parametrize("sent", [b"{\n", b"\xff\n", b"[]\n", b"[" * 100_000 + b"\n", b"x" * 200_000])
async def test_garbage_is_refused_and_the_next_request_is_answered(tmp_path: Path, sent: bytes) -> None:
    async with serving(tmp_path / "socket"):
        try:
            answer = json.loads(await exchange(tmp_path / "socket", sent))
            assert "error" in answer
        except trio.BrokenResourceError:
            pass  # the server answered before it had read everything
        assert json.loads(await exchange(tmp_path / "socket", b'{"request": "echo"}\n')) == {
            "result": {"request": "echo"}
        }


async def test_a_fault_in_one_request_ends_neither_daemon_nor_socket(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket"):
        with pytest.raises(ControlError, match="its log says how"):
            await trio.to_thread.run_sync(ask, tmp_path / "socket", {"request": "crash"})
        assert await exchange(tmp_path / "socket", b'{"request": "echo"}\n')


async def test_an_answer_that_json_cannot_hold_ends_neither_daemon_nor_socket(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket"):
        assert not await exchange(tmp_path / "socket", b'{"request": "unspeakable"}\n')
        assert await exchange(tmp_path / "socket", b'{"request": "echo"}\n')


async def test_somebody_who_says_nothing_is_let_go(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(tmp_path / "socket"):
        assert await exchange(tmp_path / "socket", b'{"request"') == b""


async def test_many_silent_callers_do_not_lock_others_out(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path / "socket"), trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(exchange, tmp_path / "socket", b"")
        assert json.loads(await exchange(tmp_path / "socket", b'{"request": "echo"}\n'))["result"]


async def test_the_socket_is_private_and_goes_with_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serving(path):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    async with serving(path):
        assert await exchange(path, b'{"request": "echo"}\n')


async def test_a_socket_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere" / "socket", tmp_path / ("long" * 50)):
        with pytest.raises(ControlError, match=r"the control socket .* cannot be made"):
            await ControlServer(path, handle).run()


async def test_only_the_daemons_user_and_root_may_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.control_socket._peer_uid", lambda _: 4321)
    async with serving(tmp_path / "socket"):
        answer = json.loads(await exchange(tmp_path / "socket", b'{"request": "echo"}\n'))
    assert "Only root" in answer["error"]


def test_without_permission_the_sentence_says_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_connection: socket.socket, _path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(ControlError, match="for root and the gateway's own user"):
        ask(tmp_path / "socket", {"request": "status"})


def test_without_a_daemon_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="Is `portway serve` running"):
        ask(tmp_path / "socket", {"request": "status"})
