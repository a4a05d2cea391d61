from __future__ import annotations

import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from gateway.store import StoreError, StoreUnavailableError, open_store
from tests.unit.gateway.store.rows import TAG, count_tags, put_tags
from tests.unit.gateway.stores import SqliteSite

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> SqliteSite:
    return SqliteSite(tmp_path / "state")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_and_what_sqlite_puts_beside_it_are_their_owners_alone(site: SqliteSite) -> None:
    store = site.open()
    put_tags(store)
    assert {path.name: oct(_mode(path)) for path in site.directory.iterdir()} == dict.fromkeys(
        ["portway.db", "portway.db-wal", "portway.db-shm", "store.key"], oct(0o600)
    )
    store.close()


def test_a_file_that_others_could_read_is_closed_to_them(site: SqliteSite) -> None:
    site.open().close()
    site.path.chmod(0o644)
    site.open().close()
    assert _mode(site.path) == 0o600


def test_commits_are_on_the_disk_and_readers_go_on_beside_a_writer(site: SqliteSite) -> None:
    store = site.open()
    with store.read() as connection:
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        put_tags(store)
    assert values == ["wal", 2]
    store.close()


def test_no_space_is_unavailable_until_there_is_space(site: SqliteSite) -> None:
    store = site.open()
    with store.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    many = [TAG | {"key": str(number)} for number in range(10_000)]
    with pytest.raises(StoreUnavailableError, match=r"no space is left for .*portway\.db"):
        put_tags(store, *many, pragma=f"max_page_count = {pages}")
    assert count_tags(store) == 0
    put_tags(store, pragma="max_page_count = 1000000")
    assert count_tags(store) == 1
    store.close()


def test_a_file_that_can_only_be_read_is_read(site: SqliteSite) -> None:
    site.open().close()
    store = open_store(f"sqlite:///file:{site.path}?mode=ro&uri=true", site.key_file)
    assert count_tags(store) == 0
    with pytest.raises(StoreUnavailableError, match=r"portway\.db can only be read"):
        put_tags(store)
    store.close()


@pytest.mark.parametrize("content", [b"This is no database, and longer than a header of one. " * 40])
def test_a_file_of_another_kind_is_refused_and_left_alone(site: SqliteSite, content: bytes) -> None:
    site.directory.mkdir()
    site.path.write_bytes(content)
    with pytest.raises(StoreError, match=r"portway\.db is no SQLite database"):
        site.open()
    assert site.path.read_bytes() == content


def test_a_damaged_file_is_called_damaged(site: SqliteSite) -> None:
    site.open().close()
    content = bytearray(site.path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    site.path.write_bytes(content)
    with pytest.raises(StoreError, match=r"portway\.db is damaged; restore it") as caught:
        site.open()
    assert not isinstance(caught.value, StoreUnavailableError)


def test_a_place_where_no_file_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"portway\.db cannot be made: File exists"):
        SqliteSite(tmp_path / "file").open()
    (tmp_path / "portway.db").mkdir()
    with pytest.raises(StoreUnavailableError, match=r"portway\.db cannot be opened"):
        SqliteSite(tmp_path).open()


def test_an_empty_file_becomes_a_store(site: SqliteSite) -> None:
    site.directory.mkdir()
    site.path.touch()
    site.open().close()
    with sqlite3.connect(site.path) as connection:
        assert connection.execute("SELECT counter FROM change").fetchall() == [(0,)]
    connection.close()
