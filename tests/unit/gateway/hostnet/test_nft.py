from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.hostnet import nft
from gateway.hostnet.errors import NftablesError, NftablesTimeoutError
from gateway.hostnet.nft import Nft

if TYPE_CHECKING:
    from pathlib import Path


def fake(tmp_path: Path, script: str) -> Nft:
    program = tmp_path / "nft"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Nft(str(program))


def test_a_missing_program_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(NftablesError, match="'nft' is not installed; install the package nftables"):
        Nft().table_names()


def test_a_program_that_cannot_be_run_is_told() -> None:
    with pytest.raises(NftablesError, match="cannot run /nonexistent/nft"):
        Nft("/nonexistent/nft").apply([{"add": {}}])


def test_a_transaction_that_does_not_end_is_none_that_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nft, "_TIMEOUT_S", 0.05)
    with pytest.raises(NftablesTimeoutError, match=r"nft has not ended within 0\.05 s$"):
        fake(tmp_path, "exec sleep 5").apply([{"add": {}}])


def test_a_missing_privilege_is_told_with_what_to_do(tmp_path: Path) -> None:
    nft = fake(tmp_path, "echo 'Operation not permitted (you must be root)' >&2; exit 1")
    with pytest.raises(NftablesError, match="run Portway as root or with CAP_NET_ADMIN"):
        nft.table_names()


def test_a_refused_transaction_is_told_with_nfts_first_line(tmp_path: Path) -> None:
    nft = fake(tmp_path, "printf 'Error: too bad\\nmore\\n' >&2; exit 1")
    with pytest.raises(NftablesError, match=r"nftables refuses a transaction: Error: too bad$"):
        nft.apply([{"add": {}}])


def test_a_transaction_without_commands_is_none() -> None:
    Nft("/nonexistent/nft").apply([])


def test_a_transaction_goes_in_whole_as_json(tmp_path: Path) -> None:
    fake(tmp_path, f"cat > {tmp_path}/seen").apply([{"add": {}}])
    assert (tmp_path / "seen").read_text() == '{"nftables": [{"add": {}}]}'


def test_tables_of_other_families_do_not_count(tmp_path: Path) -> None:
    tables = '{"table": {"family": "ip", "name": "x"}}, {"table": {"family": "inet", "name": "y"}}'
    nft = fake(tmp_path, f"""echo '{{"nftables": [{{"metainfo": {{}}}}, {tables}]}}'""")
    assert nft.table_names() == {"y"}


def test_a_table_that_is_not_there_is_empty(tmp_path: Path) -> None:
    nft = fake(tmp_path, '[ "$3" = tables ] && echo \'{"nftables": []}\' || exit 1')
    assert nft.table("portway_a") == []
