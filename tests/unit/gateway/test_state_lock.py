from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.state_lock import StateLock, StateLockError, daemon_id

HOLDER = """
import sys, pathlib
from gateway.state_lock import StateLock
with StateLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with StateLock(tmp_path), pytest.raises(StateLockError, match=f"process {os.getpid()}\\) uses .*{tmp_path.name}"):
        StateLock(tmp_path).__enter__()


def test_a_lock_can_be_taken_again_after_its_release(tmp_path: Path) -> None:
    for _ in range(2):
        with StateLock(tmp_path):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StateLockError, match=f"process {holder.pid}"):
            StateLock(tmp_path).__enter__()
        holder.kill()
    with StateLock(tmp_path):
        pass


def test_directory_and_lock_are_made_private(tmp_path: Path) -> None:
    with StateLock(tmp_path / "new" / "state"):
        assert stat.S_IMODE((tmp_path / "new" / "state").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "new" / "state" / "lock").stat().st_mode) == 0o600


def test_an_unusable_directory_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateLockError, match="is not usable: "):
        StateLock(tmp_path / "file").__enter__()


def test_the_id_belongs_to_the_directory_and_not_to_its_name(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    (tmp_path / "link").symlink_to(one)
    assert daemon_id(one) == daemon_id(tmp_path / "link")
    assert daemon_id(one) != daemon_id(other)
    assert len(daemon_id(tmp_path / "missing")) == 8
