from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gateway.cli.reporting import fail
from gateway.journal import leads_to_journal, with_level

if TYPE_CHECKING:
    from pathlib import Path


def stream_of(descriptor: int) -> dict[str, str]:
    """What systemd puts into the environment for a stream."""
    status = os.fstat(descriptor)
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "other").open("w") as other:
        assert leads_to_journal(journal.fileno(), stream_of(journal.fileno()))
        assert not leads_to_journal(other.fileno(), stream_of(journal.fileno()))
        assert not leads_to_journal(journal.fileno(), {})
        closed = os.dup(journal.fileno())
        os.close(closed)
        assert not leads_to_journal(closed, stream_of(journal.fileno()))


def test_no_line_chooses_its_own_level() -> None:
    assert with_level("it failed\n<0>says a stranger", "error") == "<3>it failed\n<3><0>says a stranger"


@pytest.mark.parametrize(("level", "number"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)])
def test_levels_are_those_of_syslog(level: str, number: int) -> None:
    assert with_level("text", level) == f"<{number}>text"


def test_a_command_that_fails_says_so_as_an_error(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", stream_of(2)["JOURNAL_STREAM"])
    fail("config.toml is wrong.\nIn two places.")
    assert capfd.readouterr().err == "<3>config.toml is wrong.\n<3>In two places.\n"
