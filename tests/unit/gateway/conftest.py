"""Stores for the tests below here, each test run on both engines."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.lab.postgres import Postgres
from tests.unit.gateway.stores import StoreTemplates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.store import Store
    from tests.unit.gateway.stores import StoreSite


@pytest.fixture(scope="session")
def store_templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreTemplates]:
    """Starts PostgreSQL when the first test asks for it, and ends it with the session.

    A test that stops a server makes one of its own.
    """
    with contextlib.ExitStack() as stack:
        yield StoreTemplates(tmp_path_factory.mktemp("store-template"), lambda: stack.enter_context(Postgres()))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store_engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def blank_site(store_engine: str, store_templates: StoreTemplates, tmp_path: Path) -> Iterator[StoreSite]:
    """Where a store can be made."""
    directory = tmp_path / "blank"
    directory.mkdir()
    site = store_templates.blank(store_engine, directory)
    yield site
    site.remove()


@pytest.fixture
def store_site(store_engine: str, store_templates: StoreTemplates, tmp_path: Path) -> Iterator[StoreSite]:
    """Where an empty store is, which a test opens itself, or as often as it likes."""
    site = store_templates.migrated(store_engine, tmp_path)
    yield site
    site.remove()


@pytest.fixture
def store(store_site: StoreSite) -> Iterator[Store]:
    """An empty store of the test's own."""
    opened = store_site.open()
    yield opened
    opened.close()
