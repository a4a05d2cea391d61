from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from gateway.pki import PkiError
from gateway.pki import directory as module
from gateway.pki.directory import Directory

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    directory = Directory(tmp_path / "pki")
    directory.create()
    return directory


def names(directory: Directory) -> set[str]:
    return {path.name for path in directory.path.iterdir()}


def test_what_is_added_can_be_read_and_leaves_nothing_else_behind(directory: Directory) -> None:
    directory.add("a", b"content")
    assert directory.read("a") == b"content"
    assert names(directory) == {"a"}


def test_adding_twice_is_refused_and_changes_nothing(directory: Directory) -> None:
    directory.add("a", b"first")
    with pytest.raises(PkiError, match="exists already"):
        directory.add("a", b"second")
    assert directory.read("a") == b"first"
    assert names(directory) == {"a"}


def test_a_dangling_link_is_not_followed(directory: Directory, tmp_path: Path) -> None:
    directory.file("a").symlink_to(tmp_path / "target")
    with pytest.raises(PkiError):
        directory.add("a", b"secret")
    assert not (tmp_path / "target").exists()


def test_replacing_leaves_the_old_content_where_writing_fails(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.replace("a", b"old")

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(PkiError, match="No space left"):
        directory.replace("a", b"new")
    assert directory.read("a") == b"old"
    assert names(directory) == {"a"}


def test_what_is_not_there_is_a_sentence(directory: Directory, tmp_path: Path) -> None:
    with pytest.raises(PkiError, match="cannot be read: No such file"):
        directory.read("a")
    with pytest.raises(PkiError, match="cannot be written"):
        Directory(tmp_path / "none").add("a", b"")


def test_a_file_in_place_of_the_directory_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "pki").write_text("")
    with pytest.raises(PkiError, match="cannot be made"):
        Directory(tmp_path / "pki").create()


def test_moving_away_what_is_not_there_does_nothing(directory: Directory) -> None:
    directory.move_away("a", "folder", "b")
    assert names(directory) == set()


def test_a_lock_that_somebody_keeps_is_given_up_on(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_TIMEOUT_S", 0.0)
    with directory.file(".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(PkiError, match="in use by another command"), directory.locked():
            pytest.fail("the lock is somebody else's")
    with directory.locked():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_two_names_is_not_given_away(directory: Directory, tmp_path: Path) -> None:
    """The owner of the directory might have linked somebody else's file into it."""
    (tmp_path / "precious").write_text("")
    os.link(tmp_path / "precious", directory.file(".lock"))
    os.chown(directory.path, 12345, 12345)
    with directory.locked():
        pass
    assert (tmp_path / "precious").stat().st_uid == 0
