"""The login banner, as a stock client hands it to its user interface."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from tests.lab import Site, endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop

BANNER = (
    """For work only.

Grüße aus 東京, 100% "quoted" \\ # ; 'text'
x",route 10.99.0.0 255.255.0.0
"""
    + 40 * "0123456789 ünd so weiter, "
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("banner"), pki, endpoint(login_banner=BANNER)) as site:
        yield site


def commands(management: Path) -> list[str]:
    """What the client has for its user interface, by OpenVPN's doc/management-notes.txt."""
    with socket.socket(socket.AF_UNIX) as interface:
        interface.settimeout(10)
        interface.connect(str(management))
        interface.sendall(b"echo all\n")
        said = b""
        while b"\r\nEND\r\n" not in said:
            said += interface.recv(65536)
    lines = said.decode().split("\r\n")
    return [line.partition(",")[2] for line in lines if line[:1].isdigit()]


def shown(said: list[str]) -> str:
    """What a user interface makes of that, by OpenVPN's doc/gui-notes.txt."""
    text = ""
    for command, _, argument in (line.partition(" ") for line in said[:-1]):
        text += unquote(argument, errors="strict") + {"msg": "\n", "msg-n": ""}[command]
    assert said[-1].startswith("msg-window ")
    return text


def test_a_user_interface_has_the_whole_text_and_the_client_takes_none_of_it_for_an_option(
    site: Site, tmp_path: Path
) -> None:
    management = tmp_path / "m.sock"
    with site.client("alice", "--management", management, "unix") as client:
        client.wait_connected()
        assert shown(commands(management)).rstrip() == BANNER.rstrip()
        assert "10.99" not in site.lab.client.run("ip", "route").stdout
        assert "Options error" not in client.text()
        assert site.reaches_office(client)
