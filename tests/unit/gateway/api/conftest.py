"""A running API over a store of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.gateway.api.site import ApiSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.store import Store


@pytest.fixture
def site(store: Store, tmp_path: Path) -> Iterator[ApiSite]:
    with ApiSite(store, tmp_path) as site:
        yield site
