from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from gateway.managed.last_known import FILE_NAME, LastKnown
from gateway.managed.snapshot import Snapshot, read_snapshot
from gateway.store import Vault
from tests.unit.gateway.managed.world import managed_world

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store

VAULT = Vault(Fernet.generate_key())


async def test_what_is_kept_comes_back_as_it_was(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create(DnsServers=["10.20.0.53"])
        world.associate(endpoint_id)
        world.authorize(endpoint_id)
        snapshot = read_snapshot(store, "gw1")
    assert snapshot.endpoints[0].associations
    LastKnown(tmp_path, VAULT).keep(snapshot)
    assert LastKnown(tmp_path, VAULT).read() == snapshot


def test_nothing_was_known_before_anything_was_kept(tmp_path: Path) -> None:
    assert LastKnown(tmp_path, VAULT).read() == Snapshot()


def test_the_file_is_its_owner_s_and_sealed(tmp_path: Path) -> None:
    LastKnown(tmp_path, VAULT).keep(Snapshot(counter=7))
    file = tmp_path / FILE_NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"counter" not in file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("octets", [b"", b"{}", b"x" * 1000])
def test_a_file_that_cannot_be_used_is_as_good_as_none(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(octets)
    assert LastKnown(tmp_path, VAULT).read() == Snapshot()
    (tmp_path / FILE_NAME).write_bytes(Vault(Fernet.generate_key()).seal(b"{}"))
    assert LastKnown(tmp_path, VAULT).read() == Snapshot()
    (tmp_path / FILE_NAME).write_bytes(VAULT.seal(b'{"counter": "many"}'))
    assert LastKnown(tmp_path, VAULT).read() == Snapshot()


def test_what_cannot_be_kept_takes_what_was_along(tmp_path: Path) -> None:
    known = LastKnown(tmp_path, VAULT)
    known.keep(Snapshot(counter=7))
    known.keep(Snapshot(counter=8, groups=["none"]))  # type: ignore[arg-type]  # as a row may be
    assert known.problem
    assert LastKnown(tmp_path, VAULT).read() == Snapshot()


def test_a_full_disk_is_said_and_what_was_revoked_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = LastKnown(tmp_path, VAULT)
    known.keep(Snapshot(counter=7))
    with monkeypatch.context() as patches:
        patches.setattr(os, "fsync", full)
        known.keep(Snapshot(counter=8))
    assert known.problem == "No space left on device."
    assert list(tmp_path.iterdir()) == []
    known.keep(Snapshot(counter=8))
    assert known.problem == ""
    assert LastKnown(tmp_path, VAULT).read() == Snapshot(counter=8)


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_older_state_that_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = LastKnown(tmp_path, VAULT)
    known.keep(Snapshot(counter=7))
    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / FILE_NAME).mkdir()
    known.keep(Snapshot(counter=8))
    assert f"delete {tmp_path / FILE_NAME}" in known.problem


def test_it_is_known_of_when_it_is(tmp_path: Path) -> None:
    known, file = LastKnown(tmp_path, VAULT), tmp_path / FILE_NAME
    known.keep(Snapshot(counter=7))
    os.utime(file, (1000.0, 1000.0))
    reader = LastKnown(tmp_path, VAULT)
    reader.read()
    assert (reader.as_of, known.as_of) == (1000.0, None)
    known.keep(Snapshot(counter=7))
    assert file.stat().st_mtime > 1000.0


def test_what_is_gone_is_written_again(tmp_path: Path) -> None:
    known = LastKnown(tmp_path, VAULT)
    known.keep(Snapshot(counter=7))
    (tmp_path / FILE_NAME).unlink()
    for _ in range(2):
        known.keep(Snapshot(counter=7))
    assert LastKnown(tmp_path, VAULT).read() == Snapshot(counter=7)


def test_what_is_kept_already_is_not_written_again(tmp_path: Path) -> None:
    known = LastKnown(tmp_path, VAULT)
    known.keep(Snapshot(counter=7))
    before = (tmp_path / FILE_NAME).stat().st_ino
    known.keep(Snapshot(counter=7))
    assert (tmp_path / FILE_NAME).stat().st_ino == before
    known.keep(Snapshot(counter=8))
    assert (tmp_path / FILE_NAME).stat().st_ino != before


def test_where_it_cannot_be_written_nothing_fails(tmp_path: Path) -> None:
    known = LastKnown(tmp_path / "missing", VAULT)
    known.keep(Snapshot(counter=7))
    assert known.read() == Snapshot()
