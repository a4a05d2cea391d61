"""A store of its own for every test of an action."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'portway.db'}", tmp_path / "store.key")
    yield opened
    opened.close()
