from __future__ import annotations

import socket
import traceback
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from gateway.store import StoreUnavailableError, open_store, postgresql
from tests.unit.gateway.store.rows import put_tags
from tests.unit.gateway.stores import PostgresSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.gateway.stores import StoreTemplates

PASSWORD = "hunter2"


@pytest.fixture
def site(store_templates: StoreTemplates, tmp_path: Path) -> Iterator[PostgresSite]:
    site = store_templates.migrated("postgresql", tmp_path)
    assert isinstance(site, PostgresSite)
    yield site
    site.remove()


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
def test_what_is_shown_of_a_store_hides_its_password(site: PostgresSite) -> None:
    store = open_store(site.url.replace("portway@", f"portway:{PASSWORD}@"), site.key_file)
    assert PASSWORD not in repr(store) + repr(store.engine) + repr(store.engine.url)
    store.close()


@pytest.mark.postgresql
def test_a_statement_is_not_waited_for_without_end(site: PostgresSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgresql._SETTINGS, "statement_timeout", "100ms")
    store = site.open()
    with pytest.raises(StoreUnavailableError, match="for one statement"), store.read() as connection:
        connection.execute(text("SELECT pg_sleep(60)"))
    put_tags(store)
    store.close()


@pytest.mark.postgresql
def test_a_server_that_only_accepts_reads_is_not_taken(site: PostgresSite) -> None:
    store = site.open()
    with store.write() as connection:
        connection.execute(text(f"ALTER DATABASE {site.database} SET default_transaction_read_only = on"))
    store.close()
    with pytest.raises(StoreUnavailableError, match=r"does not answer: .*session is read-only"):
        site.open()
