from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert

from gateway.config.settings import StoreSettings
from gateway.managed import retention
from gateway.managed.backlog import Batch
from gateway.managed.connection_rows import write_batch
from gateway.managed.retention import remove_old
from gateway.store.schema import audit, connection, connection_event, usage
from tests.unit.gateway.actions.rows import add_endpoint
from tests.unit.gateway.managed.rows import NODE, T0, ended, established, failed, rows

if TYPE_CHECKING:
    from gateway.store import Store

DAY = 86_400.0
SETTINGS = StoreSettings(url="sqlite://", key_file=Path("store.key"), connection_log_days=2, usage_days=3, audit_days=4)


@pytest.fixture
def lived_in(store: Store) -> Store:
    """A connection that ended at T0, one that goes on since then, and what was said about them."""
    add_endpoint(store)
    batch = Batch(states=(ended(established(1), T0), established(2)), events=(failed(3), failed(4, T0 + DAY)))
    with store.write() as transaction:
        write_batch(transaction, batch, node=NODE, now=T0)
        line = {"request_id": "r", "caller": "AK", "face": "api", "action": "A", "parameters": {}, "outcome": "ok"}
        transaction.execute(insert(audit), [{"at": at, **line} for at in (T0, T0 + DAY)])
    return store


def left(store: Store) -> tuple[int, int, int, int]:
    connections, events, intervals, lines = (len(rows(store, t)) for t in (connection, connection_event, usage, audit))
    return connections, events, intervals, lines


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (3600, (2, 2, 2, 2)),
        (3601, (1, 2, 2, 2)),
        (2 * DAY + 1, (1, 1, 2, 2)),
        (3 * DAY + 1, (1, 0, 0, 2)),
        (4 * DAY + 1, (1, 0, 0, 1)),
    ],
)
def test_everything_has_its_time(lived_in: Store, after: float, kept: tuple[int, int, int, int]) -> None:
    removed = remove_old(lived_in, SETTINGS, T0 + after)
    assert left(lived_in) == kept
    assert removed == 8 - sum(kept)


def test_zero_days_are_for_ever(lived_in: Store) -> None:
    remove_old(lived_in, replace(SETTINGS, connection_log_days=0, usage_days=0, audit_days=0), T0 + 9999 * DAY)
    assert left(lived_in) == (1, 2, 2, 2)


def test_much_is_removed_piece_by_piece(lived_in: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS", 1)
    remove_old(lived_in, SETTINGS, T0 + 6 * DAY)
    assert left(lived_in) == (1, 0, 0, 0)
