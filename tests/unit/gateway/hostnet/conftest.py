"""The namespaces that these tests share the making of; each test has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.gateway.hostnet.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    try:
        yield made
    finally:
        made.close()
