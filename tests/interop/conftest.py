"""Certificates that all interop modules start from, and a site with the usual endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import Site, make_pki

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of `portway pki`, not to be changed: sites work on copies."""
    return make_pki(tmp_path_factory.mktemp("certificates") / "pki").directory


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pki: Path) -> Iterator[Site]:
    """The usual endpoint, with one gateway for all tests of a module."""
    with Site(tmp_path_factory.mktemp("site"), pki) as site:
        yield site
