"""Paths that lose, double and reorder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import OFFICE_HOST, OpenVpnClient, start_relay
from tests.lab.relay import Impairment

if TYPE_CHECKING:
    from tests.lab import Site

pytestmark = pytest.mark.interop

FILE_SIZE = 1_000_000


FAULTS = {
    "loss": Impairment(loss=0.05),
    "reordering": Impairment(reorder=0.3),
    "doubles": Impairment(duplicate=0.5),
    "everything": Impairment(loss=0.15, reorder=0.2, duplicate=0.2),
}


@pytest.mark.parametrize("protection", ["tls-crypt-v2", "none"])
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_clients_connect_and_fetch_a_file_over_a_bad_path(site: Site, faults: Impairment, protection: str) -> None:
    relay = start_relay(site.lab, 443, faults)
    profile = relay.detour(site.profile("alice", protection=protection))
    with relay, OpenVpnClient(site.lab.client, profile, log=site.lab.log("client")) as client:
        client.wait_connected(within_s=90)
        assert site.lab.fetches_file(OFFICE_HOST, FILE_SIZE, within_s=90)
