"""A real PostgreSQL for tests, with a data directory of its own that goes when they are done.

Owns: one cluster, from initdb to removal, and the databases in it. It listens on a Unix socket only. Nothing waits for
the disk: what the server has committed outlives the server, which tests end, and need not outlive the host.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg

from tests.lab.process import LabError, Process, eventually

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Postgres", "postgres_programs"]

INSTALLED = Path("/usr/lib/postgresql")
HOMES = Path("/tmp")
"""Another user has to reach it, and the path of a Unix socket has to be short."""
OWNED = re.compile(r"pw-postgres-(\d+)-")
USER = "postgres"
OWNER = "portway"
START_S = 60
SETTINGS = ("listen_addresses=", "fsync=off", "full_page_writes=off", "max_connections=200")


def postgres_programs() -> Path | None:
    """Where the newest installed server's programs are; None where there is none."""
    found = sorted(INSTALLED.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """One running server. To be started in the thread that outlives it: it goes when that does, however it goes."""

    def __init__(self) -> None:
        programs = postgres_programs()
        if programs is None:
            raise LabError(f"no PostgreSQL server in {INSTALLED}")
        _sweep_leftovers()
        self._programs = programs
        self._home = Path(tempfile.mkdtemp(prefix=f"pw-postgres-{os.getpid()}-", dir=HOMES))
        self._data = self._home / "data"
        self._log = self._home / "log"
        self._names = itertools.count(1)
        self._server: Process | None = None
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, database: str) -> str:
        """What `gateway.store.open_store` takes."""
        return f"postgresql://{OWNER}@/{database}?host={self._home}"

    def create_database(self, template: str = "template1") -> str:
        """A new database, as a copy of another to which nobody is connected; its name."""
        name = f"test_{next(self._names)}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and end whoever is connected to it."""
        self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def start(self) -> None:
        """Start it, and recover first where it was not shut down; returns once it answers."""
        settings = [f"--{setting}" for setting in (*SETTINGS, f"unix_socket_directories={self._home}")]
        server = [str(self._programs / "postgres"), "-D", str(self._data), *settings]
        self._server = Process(_as_user("--pdeathsig", "QUIT") + server, log=self._log)
        eventually(self._answers, within_s=START_S, what="PostgreSQL answers")

    def stop_immediately(self) -> None:
        """What `pg_ctl stop -m immediate` does: all connections break, nothing is finished."""
        self._stop(signal.SIGQUIT)

    def close(self) -> None:
        """End the server and remove its files."""
        try:
            self._stop(signal.SIGINT)
        finally:
            shutil.rmtree(self._home, ignore_errors=True)

    def _stop(self, how: signal.Signals) -> None:
        if self._server is not None and self._server.exit_code is None:
            self._server.signal(how)
            self._server.wait(within_s=30)
        self._server = None

    def _initialise(self) -> None:
        if os.geteuid() == 0:
            owner = pwd.getpwnam(USER)
            os.chown(self._home, owner.pw_uid, owner.pw_gid)
        options = ["-U", OWNER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        command = [*_as_user(), str(self._programs / "initdb"), "-D", str(self._data), *options]
        made = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if made.returncode:
            raise LabError(f"initdb ended with {made.returncode}: {made.stderr}")

    def _answers(self) -> bool:
        assert self._server is not None
        if self._server.exit_code is not None:
            raise LabError(f"PostgreSQL ended with {self._server.exit_code}\n{self._server.tail()}")
        with contextlib.suppress(psycopg.OperationalError):
            self._administer("SELECT 1")
            return True
        return False

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def _as_user(*options: str) -> list[str]:
    """Run a program as a user whom the server accepts: it refuses to run as root."""
    who = ["--reuid", USER, "--regid", USER, "--init-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *who, *options] if who or options else []


def _sweep_leftovers() -> None:
    """Remove the files of runs that were killed; their servers went with them."""
    for path in HOMES.glob("pw-postgres-*"):
        owner = OWNED.match(path.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)
