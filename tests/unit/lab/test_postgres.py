from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.lab.postgres import Postgres

pytestmark = pytest.mark.postgresql


def _home(server: Postgres) -> Path:
    return Path(server.url("postgres").partition("host=")[2])


def _count(server: Postgres, database: str) -> int:
    with psycopg.connect(server.url(database)) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def test_what_was_committed_outlives_a_server_that_ends_at_once() -> None:
    with Postgres() as server:
        database = server.create_database()
        with psycopg.connect(server.url(database), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
            server.stop_immediately()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.start()
        assert _count(server, database) == 1


def test_databases_are_copies_of_their_template_and_apart_from_each_other() -> None:
    with Postgres() as server:
        template = server.create_database()
        with psycopg.connect(server.url(template), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        first, second = server.create_database(template), server.create_database(template)
        with psycopg.connect(server.url(first), autocommit=True) as connection:
            connection.execute("DELETE FROM kept")
        assert (_count(server, first), _count(server, second)) == (0, 1)
        server.drop_database(first)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            _count(server, first)


def test_nothing_is_left_behind_by_a_test_that_fails() -> None:
    def fail() -> None:
        with Postgres() as server:
            homes.append(_home(server))
            raise ZeroDivisionError

    homes: list[Path] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert [home.exists() for home in homes] == [False]
