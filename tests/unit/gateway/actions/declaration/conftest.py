"""Stores that tests of declarations begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.gateway.actions.declaration.documents import offer_networks

if TYPE_CHECKING:
    from gateway.store import Store


@pytest.fixture
def world(store: Store) -> Store:
    """A store whose host offers networks."""
    offer_networks(store)
    return store
