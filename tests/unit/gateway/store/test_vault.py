from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store import StoreError, Vault

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"0123456789abcdef0123456789abcdef0123456789A="


@given(st.binary(max_size=300))
def test_what_is_sealed_is_opened_and_not_seen(secret: bytes) -> None:
    vault = Vault(KEY)
    sealed = vault.seal(secret)
    assert vault.open(sealed) == secret
    assert len(secret) < 8 or secret not in sealed


def test_a_key_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "store.key"
    sealed = Vault.at(path).seal(b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert Vault.at(path).open(sealed) == b"secret"
    assert [each.name for each in path.parent.iterdir()] == ["store.key"]


def test_those_who_make_a_key_file_at_once_get_the_same_key(tmp_path: Path) -> None:
    vaults: list[Vault] = []
    together = threading.Barrier(8)

    def make() -> None:
        together.wait()
        vaults.append(Vault.at(tmp_path / "store.key"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sealed = vaults[0].seal(b"secret")
    assert [vault.open(sealed) for vault in vaults] == [b"secret"] * 8


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    sealed = Vault.at(tmp_path / "one").seal(b"secret")
    with pytest.raises(StoreError, match="sealed with another key"):
        Vault.at(tmp_path / "other").open(sealed)


def test_what_was_changed_is_not_opened(tmp_path: Path) -> None:
    vault = Vault.at(tmp_path / "store.key")
    sealed = bytearray(vault.seal(b"secret"))
    sealed[20] ^= 1
    with pytest.raises(StoreError, match="sealed with another key"):
        vault.open(bytes(sealed))


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense", KEY[:-4], b"\xff" * 44])
def test_a_file_without_a_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StoreError, match=r"store\.key holds no key of the store"):
        Vault.at(path)
    assert path.read_bytes() == content


def test_a_key_that_every_user_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.key"
    Vault.at(path)
    path.chmod(0o644)
    with pytest.raises(StoreError, match=r"mode 0644.*chmod 600"):
        Vault.at(path)


def test_a_key_that_cannot_be_read_or_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(StoreError, match="directory cannot be read"):
        Vault.at(tmp_path / "directory")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"store\.key cannot be made"):
        Vault.at(tmp_path / "file" / "store.key")
    with pytest.raises(StoreError, match="absent cannot be read: No such file"):
        Vault.existing(tmp_path / "absent")
