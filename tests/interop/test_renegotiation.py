"""Keys change under traffic, whoever begins, and no packet is lost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.lab import OFFICE_HOST, TRANSPORTS, Site, endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab import OpenVpnClient

pytestmark = pytest.mark.interop

PERIOD_S = 2
PINGS = 300
"""Twenty milliseconds apart: six seconds, about three changes of keys."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[Site]:
    """One endpoint that leaves renegotiation to the clients, one that begins it, one that does so by packets."""
    endpoints = [
        endpoint(name=name, vpn_port=443 + number, client_cidr_block=f"10.{80 + number}.0.0/22", data_channel=channel)
        for number, (name, channel) in enumerate(
            {
                "waits": {"renegotiate_after_s": 0},
                "begins": {"renegotiate_after_s": PERIOD_S},
                "counts": {"renegotiate_after_s": 0, "renegotiate_after_packets": 200},
                "waits-prf": {"renegotiate_after_s": 0, "tls_ekm": False},
            }.items()
        )
    ]
    with Site(tmp_path_factory.mktemp("renegotiation"), pki, *endpoints) as site:
        yield site


def lost_pings(client: OpenVpnClient) -> int:
    """Out of PINGS, while keys change."""
    ping = ("ping", "-n", "-q", "-c", str(PINGS), "-i", "0.02", "-W", "2", OFFICE_HOST)
    said = client.namespace.run(*ping, check=False).stdout
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    assert counts is not None, said
    return int(counts[1]) - int(counts[2])


def key_changes(client: OpenVpnClient, mark: int) -> int:
    return len(re.findall(r"Data Channel: [Cc]ipher|Outgoing Data Channel: Cipher", client.text()[mark:]))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("who", "options"),
    [
        ("waits", ("--reneg-sec", str(PERIOD_S))),
        ("begins", ("--reneg-sec", "0")),
        ("begins", ("--reneg-sec", str(PERIOD_S))),
        ("counts", ("--reneg-sec", "0")),
        ("waits-prf", ("--reneg-sec", str(PERIOD_S))),
    ],
    ids=["client", "gateway", "both", "by-packets", "client-prf"],
)
def test_no_packet_is_lost_while_keys_change(site: Site, who: str, options: tuple[str, ...], transport: str) -> None:
    with site.client("alice", *TRANSPORTS[transport], *options, endpoint=who) as client:
        client.wait_connected()
        mark = client.mark()
        assert lost_pings(client) == 0
        assert key_changes(client, mark) >= 2
        assert "TLS Error" not in client.text()[mark:]
        assert len(site.gateway.connections()) == 1


def test_keys_change_often_enough_to_come_round_again(site: Site) -> None:
    """Key ids run from 0 to 7 and then from 1: nine changes see every id, and one of them twice."""
    with site.client("alice", "--reneg-sec", "1", endpoint="waits") as client:
        client.wait_connected()
        for _ in range(9):
            mark = client.mark()
            client.wait_for("Outgoing Data Channel: Cipher", after=mark)
            assert site.reaches_office(client)
