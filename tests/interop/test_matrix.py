"""Every way in which a stock client can connect: transport, control channel, cipher, TLS version, key derivation."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.lab import CONTROL_CHANNELS, OFFICE_HOST, TRANSPORTS, Site, endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop

CIPHERS = ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305", "AES-256-CBC", "AES-128-CBC")
FILE_SIZE = 300_000


class Way(NamedTuple):
    """One combination."""

    transport: str
    protection: str
    cipher: str
    tls: str
    keys: str
    """The name of the endpoint: `exporter` or `prf`."""

    def __str__(self) -> str:
        return "-".join(self)


WAYS = [Way(*way) for way in product(TRANSPORTS, CONTROL_CHANNELS, CIPHERS, ("1.2", "1.3"), ("exporter", "prf"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[Site]:
    """One daemon with two endpoints, which differ in how data keys are made."""
    exporter = endpoint(name="exporter", data_channel={"data_ciphers": list(CIPHERS)})
    prf = endpoint(
        name="prf",
        vpn_port=1443,
        client_cidr_block="10.84.0.0/22",
        data_channel={"data_ciphers": list(CIPHERS), "tls_ekm": False},
    )
    with Site(tmp_path_factory.mktemp("matrix"), pki, exporter, prf) as site:
        yield site


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_stock_client_connects_and_moves_packets(site: Site, way: Way) -> None:
    options = [
        *TRANSPORTS[way.transport],
        *("--data-ciphers", way.cipher),
        *("--tls-version-min", way.tls, "--tls-version-max", way.tls),
    ]
    client = site.client("alice", *options, protection=way.protection, endpoint=way.keys)
    try:
        connected = client.wait_connected()
        assert connected.cipher == way.cipher
        assert connected.tls == f"TLSv{way.tls}"
        assert any("tls-ekm" in option for option in connected.pushed) == (way.keys == "exporter")
        assert site.reaches_office(client)
        assert site.lab.fetches_file(OFFICE_HOST, FILE_SIZE)
    finally:
        client.kill()
