"""A hundred stock clients at once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.lab import NULL_DEVICE, TRANSPORTS, Site, endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.interop

CLIENTS = 100


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[Site]:
    crowded = endpoint(sessions_per_client=0, handshake={"max_stateless_replies": 1000})
    with Site(tmp_path_factory.mktemp("crowd"), pki, crowded) as site:
        yield site


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_hundred_clients_connect_at_once_and_each_gets_its_own_address(site: Site, transport: str) -> None:
    with ExitStack() as stack:
        clients = [site.client("alice", *NULL_DEVICE, *TRANSPORTS[transport]) for _ in range(CLIENTS)]
        for client in clients:
            stack.callback(client.kill)
        addresses = {client.wait_connected(within_s=120).address for client in clients}
        assert len(addresses) == CLIENTS
        listed = [one for one in site.gateway.connections() if one["client_ip"] in addresses]
        assert len(listed) >= CLIENTS
