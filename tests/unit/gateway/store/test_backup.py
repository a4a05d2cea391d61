"""What `docs/backup.md` says: a copy that is made while others write is whole, and is as good as the store was."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from sqlalchemy import insert, make_url, select, update

from gateway.store import StoreError
from gateway.store.schema import access_key, tag
from tests.lab.postgres import postgres_programs
from tests.unit.gateway.api.keys import add_key
from tests.unit.gateway.stores import SqliteSite

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.stores import StoreSite

MANUAL = (Path(__file__).parents[4] / "docs" / "backup.md").read_text()


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def postgres(program: str, *arguments: str) -> None:
    programs = postgres_programs()
    assert programs is not None
    run(str(programs / program), *arguments)


def back_up(site: StoreSite, copy: Path) -> None:
    if isinstance(site, SqliteSite):
        assert "\".backup '" in MANUAL
        run("sqlite3", str(site.path), f".backup '{copy}'")
    else:
        assert "pg_dump --format=custom --file=portway.dump portway" in MANUAL
        postgres("pg_dump", "--format=custom", f"--file={copy}", libpq(site))


def restore(site: StoreSite, copy: Path) -> None:
    if isinstance(site, SqliteSite):
        for suffix in ("", "-wal", "-shm"):
            assert f"/var/lib/portway/portway.db{suffix}" in MANUAL
            Path(f"{site.path}{suffix}").unlink(missing_ok=True)
        shutil.copy(copy, site.path)
    else:
        options = ("--clean", "--if-exists", "--no-owner", "--single-transaction")
        assert f"pg_restore {' '.join(options)} --dbname=portway portway.dump" in MANUAL
        postgres("pg_restore", *options, f"--dbname={libpq(site)}", str(copy))


def libpq(site: StoreSite) -> str:
    """The database as PostgreSQL's own programs take it."""
    return make_url(site.url).set(drivername="postgresql").render_as_string(hide_password=False)


class Writer:
    """Writes pairs of rows, each in one transaction, until it is told to stop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ends = threading.Event()
        self.has_begun = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.has_begun.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        while not self._ends.is_set():
            with self._store.write() as connection:
                for key in ("one", "other"):
                    row = {"resource_id": str(number), "resource_type": "x", "key": key, "value": ""}
                    connection.execute(insert(tag), row)
            number += 1
            if number == 10:
                self.has_begun.set()


def test_a_copy_made_while_others_write_is_whole_and_brings_back_what_was_withdrawn(
    blank_site: StoreSite, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    store = blank_site.open()
    key_id, secret = add_key(store)
    with Writer(store):
        back_up(blank_site, copy)
    with store.write() as connection:
        connection.execute(update(access_key).values(disabled_at=1.0))
    later, _ = add_key(store)
    store.close()

    restore(blank_site, copy)
    store = blank_site.open()
    with store.read() as connection:
        (key,) = connection.execute(select(access_key)).all()
        pairs = connection.execute(select(tag.c.resource_id).order_by(tag.c.resource_id)).scalars().all()
    assert (key.id, key.disabled_at, store.vault.open(key.secret)) == (key_id, None, secret.encode())
    assert later != key_id
    assert len(pairs) >= 20
    assert pairs[::2] == pairs[1::2], "of what was written together, the copy has all or nothing"
    with store.write() as connection:
        connection.execute(update(access_key).values(disabled_at=2.0))
    store.close()


def test_a_copy_is_of_no_use_without_its_key(blank_site: StoreSite, tmp_path: Path) -> None:
    blank_site.open().close()
    back_up(blank_site, tmp_path / "copy")
    blank_site.key_file.unlink()
    restore(blank_site, tmp_path / "copy")
    with pytest.raises(StoreError, match="is missing"):
        blank_site.open()
    assert not blank_site.key_file.exists()
