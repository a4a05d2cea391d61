import os
import socket
from pathlib import Path

import pytest

from gateway.connection_log import FileSink, JournalSink, StreamSink


def test_a_file_holds_the_lines_in_order_and_is_private(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log", max_bytes=0, keep=0)
    sink.write(b"one\n")
    sink.write(b"two\n")
    sink.close()
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_file_is_appended_to_when_the_gateway_starts_again(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        sink = FileSink(tmp_path / "log", max_bytes=0, keep=0)
        sink.write(line)
        sink.close()
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_a_full_file_moves_aside_and_only_so_many_are_kept(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log", max_bytes=8, keep=2)
    for number in range(7):
        sink.write(b"%03d\n" % number)
    sink.close()
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert held == {"log": b"006\n", "log.1": b"004\n005\n", "log.2": b"002\n003\n"}


def test_a_file_that_keeps_nothing_starts_again(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log", max_bytes=4, keep=0)
    sink.write(b"one\n")
    sink.write(b"two\n")
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert (tmp_path / "log").read_bytes() == b"two\n"


def test_after_reopen_lines_go_to_a_new_file(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log", max_bytes=0, keep=0)
    sink.write(b"one\n")
    (tmp_path / "log").rename(tmp_path / "old")
    sink.reopen()
    sink.write(b"two\n")
    sink.close()
    assert (tmp_path / "old").read_bytes() == b"one\n"
    assert (tmp_path / "log").read_bytes() == b"two\n"


def test_a_file_does_not_follow_a_link_that_somebody_put_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        FileSink(tmp_path / "log", max_bytes=0, keep=0).write(b"one\n")


def test_a_line_cut_short_by_a_full_disk_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = FileSink(tmp_path / "log", max_bytes=0, keep=0)
    real_write = os.write
    answers = iter([3, 0])

    def full_disk(descriptor: int, data: bytes) -> int:
        taken = next(answers)
        if not taken:
            raise OSError(28, "No space left on device")
        return real_write(descriptor, data[:taken])

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(OSError, match="No space"):
        sink.write(b"first\n")
    monkeypatch.undo()
    sink.write(b"first\n")
    sink.write(b"second\n")
    sink.close()
    assert (tmp_path / "log").read_bytes() == b"fir\nfirst\nsecond\n"


def test_a_stream_gets_the_line(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        StreamSink(writing).write(b"one\n")
        assert os.read(reading, 100) == b"one\n"
    finally:
        os.close(reading)
        os.close(writing)


def test_the_journal_gets_the_line_as_its_message(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        sink = JournalSink(path)
        sink.write(b'{"a": "b"}\n')
        sink.close()
        fields = journal.recv(1000).decode().splitlines()
    assert fields == ["PRIORITY=6", "SYSLOG_IDENTIFIER=portway", 'MESSAGE={"a": "b"}']


def test_a_journal_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    sink = JournalSink(str(tmp_path / "nobody"))
    with pytest.raises(OSError, match="No such file"):
        sink.write(b"one\n")
    sink.close()
