"""Addresses are listened on, or refused with a sentence; a Unix socket is its owner's from its first moment."""

from __future__ import annotations

import socket
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from gateway.api.listening import ListenError, listen_tcp, listen_unix
from tests.unit.gateway.api import site as sites
from tests.unit.gateway.api.asking import ask, now
from tests.unit.gateway.api.keys import add_key
from tests.unit.gateway.api.signing import signed

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")])
def test_addresses_of_both_families_are_listened_on(address: str, host: str) -> None:
    with listen_tcp(address) as listening:
        port = listening.getsockname()[1]
        socket.create_connection((host, port)).close()


def test_all_addresses_of_one_family_leave_the_others_free() -> None:
    with listen_tcp("[::]:0") as first, listen_tcp(f"0.0.0.0:{first.getsockname()[1]}") as second:
        assert first.getsockname()[1] == second.getsockname()[1]


def test_an_address_that_is_taken_is_named() -> None:
    with listen_tcp("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            listen_tcp(f"127.0.0.1:{port}")


def test_a_unix_socket_is_its_owners_only(tmp_path: Path) -> None:
    with listen_unix(tmp_path / "api.sock"):
        assert stat.S_IMODE((tmp_path / "api.sock").stat().st_mode) == 0o600


def test_a_socket_that_somebody_listens_on_stays(tmp_path: Path) -> None:
    with listen_unix(tmp_path / "api.sock") as first:
        with pytest.raises(ListenError, match="Another process listens"):
            listen_unix(tmp_path / "api.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(tmp_path / "api.sock"))
            first.setblocking(True)
            first.accept()[0].close()


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    listen_unix(tmp_path / "api.sock").close()
    assert (tmp_path / "api.sock").exists()
    with listen_unix(tmp_path / "api.sock"), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(tmp_path / "api.sock"))


@pytest.mark.parametrize("name", ["missing/api.sock", "x" * 200])
def test_a_place_where_no_socket_can_be_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ListenError, match=r"The API's socket .* cannot be made"):
        listen_unix(tmp_path / name)


def test_who_takes_all_places_makes_room_for_who_comes_from_elsewhere(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = 8
    monkeypatch.setattr(sites, "ENOUGH_CONNECTIONS", places)
    with sites.ApiSite(store, tmp_path) as site, ExitStack() as held:
        key_id, secret = add_key(store)
        for _ in range(3 * places):
            greedy = socket.create_connection(("127.0.0.1", site.port), source_address=("127.0.0.2", 0))
            held.callback(greedy.close)
        for _ in range(3):
            assert ask(site, signed(key_id, secret, at=now()))[0] == 200
