"""Every kind of key that `portway pki` makes serves a stock client, from the authority down to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import Site, make_pki

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("key_type", ["rsa-2048", "ed25519"])
def test_a_stock_client_connects_and_is_revoked(tmp_path: Path, key_type: str) -> None:
    pki = make_pki(tmp_path / "made", key_type).directory
    (tmp_path / "site").mkdir()
    with Site(tmp_path / "site", pki) as site:
        client = site.client("alice")
        client.wait_connected()
        assert site.reaches_office(client)
        site.revoke("alice")
        site.gateway.wait_for_record(connection_log_type="connection-reset", common_name="alice")
        client.kill()
