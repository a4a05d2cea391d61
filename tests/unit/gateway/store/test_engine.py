from __future__ import annotations

import socket
import sqlite3
import stat
import traceback
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from gateway.store import Store, StoreError, StoreUnavailableError, open_store, postgresql
from gateway.store.schema import tag
from tests.lab.postgres import Postgres
from tests.unit.gateway.stores import PostgresSite, SqliteSite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.unit.gateway.stores import StoreSite, StoreTemplates

PASSWORD = "hunter2"
TAG = {"resource_id": "r", "resource_type": "t", "key": "k", "value": "v"}


def _put(store: Store, *pragmas: str, rows: Sequence[dict[str, str]] = (TAG,)) -> None:
    with store.write() as connection:
        for pragma in pragmas:
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.execute(insert(tag), rows)


def _tags(store: Store) -> int:
    with store.read() as connection:
        return len(connection.execute(select(tag)).all())


# Urls


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "url is none"),
        ("portway.db", "url is none"),
        ("sqlite://", "cannot be in memory"),
        ("sqlite:///:memory:", "cannot be in memory"),
        ("mysql://localhost/portway", "begins with 'mysql'"),
        (f"postgresql://portway:{PASSWORD}@host:port/portway", "url is none"),
        (f"postgresql://host/portway?password={PASSWORD}", "password after the"),
        (f"postgresql://portway:{PASSWORD}@/portway?nonsense=1", "cannot be made or used: .*nonsense"),
    ],
)
def test_a_url_that_is_none_is_refused_and_its_password_kept(tmp_path: Path, url: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence) as caught:
        open_store(url, tmp_path / "store.key")
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)[-1:])
    assert PASSWORD not in repr(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_unavailable_and_its_password_kept(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(StoreUnavailableError, match=r"does not answer: .*Connection refused$") as caught:
            open_store(f"postgresql://portway:{PASSWORD}@127.0.0.1:{port}/portway", tmp_path / "store.key")
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StoreUnavailableError, match=r"does not answer: .*timeout"):
            open_store(f"postgresql://127.0.0.1:{port}/portway?connect_timeout=2", tmp_path / "store.key")


@pytest.mark.postgresql
def test_what_is_shown_of_a_store_hides_its_password(store_templates: StoreTemplates, tmp_path: Path) -> None:
    site = store_templates.migrated("postgresql", tmp_path)
    store = open_store(site.url.replace("portway@", f"portway:{PASSWORD}@"), site.key_file)
    assert PASSWORD not in repr(store) + repr(store.engine) + repr(store.engine.url)
    store.close()
    site.remove()


def test_what_is_said_of_a_statement_that_fails_hides_its_values(store: Store) -> None:
    _put(store)
    with pytest.raises(IntegrityError) as caught:
        _put(store, rows=[TAG | {"value": PASSWORD}])
    assert PASSWORD not in str(caught.value)


# The key


def test_a_store_belongs_to_the_key_that_it_was_made_with(blank_site: StoreSite) -> None:
    blank_site.open().close()
    blank_site.key_file.unlink()
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        blank_site.open()
    other = blank_site.key_file.with_name("other.key")
    SqliteSite(other.parent / "elsewhere").open().close()
    (other.parent / "elsewhere" / "store.key").rename(other)
    with pytest.raises(StoreError, match=r"other\.key is not the key that this store was made with"):
        open_store(blank_site.url, other)
    assert not blank_site.key_file.exists()


# Transactions


def test_a_transaction_that_reads_cannot_write(store: Store) -> None:
    def write(connection: Connection) -> None:
        connection.execute(insert(tag).values(TAG))

    with pytest.raises(StoreUnavailableError, match="read"), store.read() as connection:
        write(connection)
    assert _tags(store) == 0
    _put(store)
    assert _tags(store) == 1


def test_a_transaction_that_reads_sees_one_state(store: Store, store_site: StoreSite) -> None:
    other = store_site.open()
    with store.read() as connection:
        before = connection.execute(select(tag)).all()
        _put(other)
        assert connection.execute(select(tag)).all() == before == []
    other.close()
    assert _tags(store) == 1


def test_a_mistake_in_the_program_is_not_taken_for_an_outage(store: Store) -> None:
    with pytest.raises(Exception, match="nonsense") as caught, store.read() as connection:
        connection.execute(text("SELECT nonsense FROM tag"))
    assert not isinstance(caught.value, StoreError)


def test_a_writer_is_not_waited_for_without_end(
    store: Store, store_site: StoreSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.sqlite.WRITE_WAIT_S", 0.2)
    monkeypatch.setitem(postgresql._SETTINGS, "lock_timeout", "200ms")
    other = store_site.open()
    with store.write(), pytest.raises(StoreUnavailableError, match=r"has been writing .*for more than"):
        _put(other)
    _put(other)
    other.close()
    assert _tags(store) == 1


def test_threads_of_one_process_do_not_wait_for_each_other_without_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.store.WRITE_WAIT_S", 0.1)
    with store.write(), pytest.raises(StoreUnavailableError, match="in this process"):
        _put(store)
    _put(store)
    assert _tags(store) == 1


# SQLite's file


@pytest.fixture
def site(tmp_path: Path) -> SqliteSite:
    return SqliteSite(tmp_path / "state")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_and_what_sqlite_puts_beside_it_are_their_owners_alone(site: SqliteSite) -> None:
    store = site.open()
    _put(store)
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
        _put(store)
    assert values == ["wal", 2]
    store.close()


def test_no_space_is_unavailable_until_there_is_space(site: SqliteSite) -> None:
    store = site.open()
    with store.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    many = [TAG | {"key": str(number)} for number in range(10_000)]
    with pytest.raises(StoreUnavailableError, match=r"no space is left for .*portway\.db"):
        _put(store, f"max_page_count = {pages}", rows=many)
    assert _tags(store) == 0
    _put(store, "max_page_count = 1000000")
    assert _tags(store) == 1
    store.close()


def test_a_file_that_can_only_be_read_is_read(site: SqliteSite) -> None:
    site.open().close()
    store = open_store(f"sqlite:///file:{site.path}?mode=ro&uri=true", site.key_file)
    assert _tags(store) == 0
    with pytest.raises(StoreUnavailableError, match=r"portway\.db can only be read"):
        _put(store)
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


# PostgreSQL's limits


@pytest.mark.postgresql
def test_a_statement_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgresql._SETTINGS, "statement_timeout", "100ms")
    with Postgres() as server:
        store = PostgresSite(server, server.create_database(), tmp_path).open()
        with pytest.raises(StoreUnavailableError, match="for one statement"), store.read() as connection:
            connection.execute(text("SELECT pg_sleep(60)"))
        _put(store)
        store.close()
