"""Fixtures for the tests of the native core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.tunnel.nativeplane import keys

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=keys.BACK_ENDS)
def each_back_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """The tests of a module once with each library that can do the AEADs; hypothesis wants it for the whole module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "back_end", request.param)
        keys.key_library()
        yield
