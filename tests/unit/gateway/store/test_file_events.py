from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import trio

from gateway.store.file_events import FileEvents

if TYPE_CHECKING:
    from pathlib import Path

SOON_S = 30
WRITE = "import sys; open(sys.argv[1], 'ab').write(b'x')"


async def test_each_writing_is_heard_whoever_writes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    events = FileEvents(file)
    with trio.fail_after(SOON_S):
        for _ in range(2):
            await trio.run_process([sys.executable, "-c", WRITE, str(file)])
            await events.wait()
            file.write_bytes(b"here")
            await events.wait()
    events.close()


async def test_reading_and_what_happens_to_neighbours_is_not_heard(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    events = FileEvents(file)
    file.read_bytes()
    (tmp_path / "neighbour").write_bytes(b"x")
    with trio.move_on_after(0.1):
        await events.wait()
        pytest.fail("something was heard")
    events.close()


def test_a_file_that_is_not_there_cannot_be_heard(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileEvents(tmp_path / "none")
