"""What tests of actions begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.gateway.actions.authorities import Arns, publish_both

if TYPE_CHECKING:
    from gateway.store import Store


@pytest.fixture
def arns(store: Store) -> Arns:
    """An authority's certificate and a server's, in the store."""
    return publish_both(store)
