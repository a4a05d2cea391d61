from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete

from gateway.store import StoreError, open_store
from gateway.store.schema import key_proof
from tests.unit.gateway.api.keys import add_key
from tests.unit.gateway.stores import SqliteSite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.gateway.stores import StoreSite

PASSWORD = "hunter2"


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


def test_a_store_belongs_to_the_key_that_it_was_made_with(blank_site: StoreSite) -> None:
    blank_site.open().close()
    blank_site.key_file.unlink()
    with pytest.raises(
        StoreError, match=r"store\.key is missing, and what is sealed in the database opens with no other"
    ):
        blank_site.open()
    other = blank_site.key_file.with_name("other.key")
    SqliteSite(other.parent / "elsewhere").open().close()
    (other.parent / "elsewhere" / "store.key").rename(other)
    with pytest.raises(StoreError, match=r"other\.key is not the key that this store was made with"):
        open_store(blank_site.url, other)
    assert not blank_site.key_file.exists()


def test_a_store_that_has_lost_its_proof_takes_no_other_key_while_it_has_secrets(blank_site: StoreSite) -> None:
    store = blank_site.open()
    add_key(store)
    with store.write() as connection:
        connection.execute(delete(key_proof))
    store.close()
    moved = blank_site.key_file.rename(blank_site.key_file.with_name("moved.key"))
    with pytest.raises(StoreError, match="is missing"):
        blank_site.open()
    assert not blank_site.key_file.exists()
    open_store(blank_site.url, moved).close()
