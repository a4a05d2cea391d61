"""Connections come to an end: who has closed one makes room for others at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.api import conversation
from gateway.api.client import ApiClient
from tests.unit.gateway.api import site as sites
from tests.unit.gateway.api.keys import add_key

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store

PLACES = 2


@pytest.fixture
def site(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sites.ApiSite:
    """With few places, which nobody loses for being idle."""
    monkeypatch.setattr(sites, "ENOUGH_CONNECTIONS", PLACES)
    monkeypatch.setattr(conversation, "IDLE_TIMEOUT_S", 3600.0)
    monkeypatch.setattr("gateway.api.client.TIMEOUT_S", 10.0)
    return sites.ApiSite(store, tmp_path)


def test_a_caller_who_has_hung_up_takes_no_place(site: sites.ApiSite) -> None:
    with site:
        key_id, secret = add_key(site.store)
        by_socket = ApiClient.at_socket(site.socket)
        by_https = ApiClient.at_url(site.url, key_id, secret, region=sites.REGION, ca_file=site.ca_file)
        for client in (by_socket, by_https):
            for _ in range(3 * PLACES):
                assert client.call("GetCallerIdentity")["Account"]
