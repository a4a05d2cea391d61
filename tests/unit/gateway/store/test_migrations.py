from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, make_url, text

import gateway.store.migrations
from gateway.store import StoreError, open_store
from gateway.store.migrations import HEAD
from gateway.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.store import Store
    from tests.unit.gateway.stores import StoreSite

OPEN = "import sys; from pathlib import Path; from gateway.store import open_store\n"


def _plain_engine(url: str) -> Engine:
    parsed = make_url(url)
    return create_engine(parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed)


@pytest.fixture
def engine(blank_site: StoreSite) -> Iterator[Engine]:
    """A database that knows nothing of the store, without the store's ways."""
    engine = _plain_engine(blank_site.url)
    yield engine
    engine.dispose()


def _by_text(described: list[Any]) -> list[str]:
    return sorted(str(sorted(each.items(), key=lambda item: str(item[0]))) for each in described)


def _description(engine: Engine) -> dict[str, Any]:
    """Everything that the database knows of the store's tables, in no order of its own."""
    inspector = inspect(engine)
    return {
        table: {
            "columns": _by_text([{**each, "type": repr(each["type"])} for each in inspector.get_columns(table)]),
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": _by_text(list(inspector.get_foreign_keys(table))),
            "unique": _by_text(list(inspector.get_unique_constraints(table))),
            "checks": _by_text(list(inspector.get_check_constraints(table))),
            "indexes": _by_text([_index_described(each) for each in inspector.get_indexes(table)]),
            "comment": inspector.get_table_comment(table) if engine.dialect.supports_comments else None,
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def _index_described(index: Any) -> dict[str, str]:
    return {**index, "dialect_options": {name: str(what) for name, what in index.get("dialect_options", {}).items()}}


def test_migrations_make_exactly_the_tables_of_the_schema(store: Store, engine: Engine) -> None:
    metadata.create_all(engine)
    assert _description(store.engine) == _description(engine)


def test_what_is_compared_includes_conditions_of_indexes_and_checks(engine: Engine) -> None:
    metadata.create_all(engine)
    described = _description(engine)
    assert "ended_at IS NULL" in str(described["association"]["indexes"])
    assert "read-only" in str(described["access_key"]["checks"])


def test_alembic_finds_nothing_to_migrate(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_newest_step_is_the_one_that_the_program_asks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(gateway.store.migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_a_store_that_a_newer_program_has_used_is_refused_and_left_alone(store_site: StoreSite) -> None:
    engine = _plain_engine(store_site.url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"newer Portway: its tables are of version 9999"):
        store_site.open()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == ["9999"]
    engine.dispose()


def test_tables_of_somebody_else_are_not_taken_over(blank_site: StoreSite, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE tag (theirs INTEGER)"))
    with pytest.raises(StoreError, match=r"cannot be made or used: .*tag"):
        blank_site.open()
    assert inspect(engine).get_table_names() == ["tag"]


def test_a_store_whose_making_was_killed_is_made_by_the_next_one(blank_site: StoreSite, engine: Engine) -> None:
    script = (
        "import os, signal\n"
        "from sqlalchemy import Engine, event\n"
        "def die(connection, cursor, statement, *rest):\n"
        "    if 'CREATE TABLE audit' in statement: os.kill(os.getpid(), signal.SIGKILL)\n"
        "event.listen(Engine, 'before_cursor_execute', die)\n"
    )
    arguments = [sys.executable, "-c", OPEN + script + "open_store(sys.argv[1], Path(sys.argv[2]))"]
    died = subprocess.run([*arguments, blank_site.url, blank_site.key_file], check=False)
    assert (died.returncode, inspect(engine).get_table_names()) == (-9, [])
    store = blank_site.open()
    assert store.counter() == 0
    store.close()


def test_processes_that_make_the_store_at_once_all_get_it(blank_site: StoreSite) -> None:
    script = "sys.stdin.read(); print(open_store(sys.argv[1], Path(sys.argv[2])).counter())"
    arguments = [sys.executable, "-c", OPEN + script, blank_site.url, str(blank_site.key_file)]
    pipe = subprocess.PIPE
    openers = [subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    for opener in openers:
        assert opener.stdin
        opener.stdin.close()
        opener.stdin = None
    results = [(opener.communicate(), opener.returncode) for opener in openers]
    assert results == [(("0\n", ""), 0)] * 4
    open_store(blank_site.url, blank_site.key_file).close()
