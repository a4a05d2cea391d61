"""The outside of the tunnel: which of the gateway's addresses clients come to, and every kind of tls-auth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import CONTROL_CHANNELS, OFFICE_HOST, TRANSPORTS, OpenVpnClient, Site, endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop

SMALL_MTU = 1320
ADDRESSES = {"the first": "198.18.1.1", "another": "198.18.1.9", "IPv6": "fd18:1::1"}
TLS_AUTH: list[tuple[str, int | str]] = [
    ("SHA1", 0),
    ("SHA1", 1),
    ("SHA1", "both"),
    ("SHA256", 0),
    ("SHA512", 0),
    ("SHA512", "both"),
]


def with_tls_auth(number: int, digest: str, direction: int | str) -> dict[str, object]:
    """An endpoint of its own for one kind of tls-auth."""
    channel = {
        "accept": ["tls-auth"],
        "tls_auth_key": "pki/tls-auth.key",
        "tls_auth_digest": digest,
        "tls_auth_direction": direction,
    }
    return endpoint(
        name=f"{digest}-{direction}",
        vpn_port=1443 + number,
        client_cidr_block=f"10.{90 + number}.0.0/24",
        control_channel=channel,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[Site]:
    others = [with_tls_auth(number, *kind) for number, kind in enumerate(TLS_AUTH)]
    main = endpoint(listen="::", data_channel={"mssfix": SMALL_MTU - 28})
    with Site(tmp_path_factory.mktemp("outside"), pki, main, *others) as site:
        site.lab.gateway.ip("address add 198.18.1.9/24 dev client1", "address add fd18:1::1/64 dev client1 nodad")
        site.lab.client.ip("address add fd18:1::2/64 dev eth0 nodad")
        yield site


def client_to(site: Site, address: str, transport: str) -> OpenVpnClient:
    """A client that comes to this address of the gateway."""
    profile = site.directory / f"to-{address.replace(':', '-')}.ovpn"
    profile.write_text(site.profile("alice").read_text().replace("198.18.1.1", address))
    return OpenVpnClient(site.lab.client, profile, *TRANSPORTS[transport], log=site.lab.log("client"))


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_clients_may_come_to_any_address_of_the_gateway(site: Site, address: str, transport: str) -> None:
    with client_to(site, address, transport) as client:
        client.wait_connected()
        assert site.reaches_office(client)
        assert client.ping(OFFICE_HOST, size=8000)


def test_a_client_that_moves_to_another_ipv6_address_keeps_its_session(site: Site) -> None:
    with client_to(site, ADDRESSES["IPv6"], "udp") as client:
        before = client.wait_connected()
        mark = client.mark()
        for old, new in (("fd18:1::2", "fd18:1::3"), ("fd18:1::3", "fd18:1::2")):
            site.lab.client.ip(f"address add {new}/64 dev eth0 nodad", f"address delete {old}/64 dev eth0")
            assert client.ping(OFFICE_HOST, within_s=10)
            (session,) = site.gateway.connections()
            assert (session["client_ip"], session["device_ip"]) == (before.address, new)
        assert "Restart" not in client.text()[mark:]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("digest", "direction"), TLS_AUTH)
def test_tls_auth_works_with_every_digest_and_direction(
    site: Site, digest: str, direction: int | str, transport: str
) -> None:
    with site.client("alice", *TRANSPORTS[transport], endpoint=f"{digest}-{direction}") as client:
        client.wait_connected()
        assert site.reaches_office(client)


@pytest.mark.parametrize("protection", CONTROL_CHANNELS)
def test_a_path_for_small_packets_only_is_enough(site: Site, protection: str) -> None:
    """Nobody tells that packets are too large: the control channel's are small, and TCP inside is clamped."""
    site.lab.client.ip(f"link set eth0 mtu {SMALL_MTU}")
    try:
        with site.client("alice", *TRANSPORTS["udp"], protection=protection) as client:
            client.wait_connected()
            assert site.lab.fetches_file(OFFICE_HOST, 1_000_000)
    finally:
        site.lab.client.ip("link set eth0 mtu 1500")
