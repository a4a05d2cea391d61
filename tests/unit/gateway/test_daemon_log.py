import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.daemon_log import LINES_WAITING, _PlainRenderer, daemon_log

PATIENCE_S = 30
LINES_ON_THEIR_WAY = 4096 // len('{"number": 0}')
"""At most, when a pipe is full: those that leave together, and no longer wait."""


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        for descriptor in (reading, writing):
            os.close(descriptor)


def read_all(reading: int) -> str:
    os.set_blocking(reading, False)
    pieces = []
    while True:
        try:
            pieces.append(os.read(reading, 65536))
        except BlockingIOError:
            return b"".join(pieces).decode()


def logged(log_format: str, level: str, work: Callable[[], None]) -> str:
    """What `work` writes to the log."""
    with pipe() as (reading, writing):
        with daemon_log(log_format, level, writing):
            work()
        return read_all(reading)


def divide_by_zero() -> None:
    secret = "hunter" + "2"
    try:
        _ = 1 // len(secret[len(secret) :])
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")


def test_json_has_the_event_and_its_facts() -> None:
    def work() -> None:
        structlog.get_logger().info("session started", peer=3)
        structlog.get_logger().debug("not asked for")

    (line,) = logged("json", "info", work).splitlines()
    assert json.loads(line).items() >= {"event": "session started", "peer": 3, "level": "info"}.items()


def test_json_holds_a_traceback_in_the_same_line() -> None:
    (line,) = logged("json", "info", divide_by_zero).splitlines()
    assert json.loads(line)["exception"][0]["exc_type"] == "ZeroDivisionError"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(log_format: str) -> None:
    text = logged(log_format, "info", divide_by_zero)
    assert "ZeroDivisionError" in text
    assert "hunter2" not in text


def test_the_console_is_for_people() -> None:
    text = logged("console", "warning", lambda: structlog.get_logger().warning("certificate expires", days=3))
    assert "certificate expires" in text
    assert "days=3" in text


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_every_line_has_its_level_in_the_journal(log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe() as (reading, writing):
        status = os.fstat(writing)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        with daemon_log(log_format, "info", writing):
            structlog.get_logger().info("client connected")
            structlog.get_logger().warning("certificate or list ends")
            divide_by_zero()
        first, second, *traceback = read_all(reading).splitlines()
    assert first.startswith("<6>")
    assert second.startswith("<4>")
    assert traceback
    assert all(line.startswith("<3>") for line in traceback)


CONSOLE = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
EVENTS = st.fixed_dictionaries(
    {
        "event": st.text(min_size=1) | st.integers(1),
        "level": st.sampled_from(["debug", "info", "warning", "error", "critical"]),
        "timestamp": st.just("2026-01-02T03:04:05.678901Z"),
    },
    optional={"logger": st.text(), "stack": st.text()},
)
FACTS = st.dictionaries(
    st.from_regex(r"fact_[a-z]{0,4}", fullmatch=True), st.text() | st.integers() | st.none() | st.lists(st.text())
)


@given(event=EVENTS, facts=FACTS)
def test_without_colours_it_writes_what_structlog_would(event: dict[str, Any], facts: dict[str, Any]) -> None:
    logger = structlog.get_logger()
    plain = _PlainRenderer(CONSOLE)(logger, "info", event | facts)
    assert plain == CONSOLE(logger, "info", event | facts)


def test_text_that_no_encoding_holds_is_written_all_the_same() -> None:
    assert "\\udcff" in logged("console", "info", lambda: structlog.get_logger().info("\udcff"))


def test_a_closed_stream_is_no_reason_to_fail() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with daemon_log("json", "info", writing):
        os.close(writing)
        structlog.get_logger().info("nobody hears this")


def fill(writing: int) -> int:
    """Leave no room in a pipe; how many octets it took."""
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    written = 0
    while True:
        try:
            written += os.write(writing, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writing, True)
            return written


def log_lines(count: int) -> None:
    for number in range(count):
        structlog.get_logger().info("line", number=number)


def drain(reading: int, until: str) -> list[dict[str, Any]]:
    """The lines that come out of the pipe, up to one of this event."""
    text = b""
    while until.encode() not in text or not text.endswith(b"\n"):
        text += os.read(reading, 65536)
    return [json.loads(line) for line in text.splitlines()]


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_what_it_cost_is_said() -> None:
    surplus = 500
    with pipe() as (reading, writing):
        filled = fill(writing)
        with daemon_log("json", "info", writing):
            logging = threading.Thread(target=log_lines, args=[LINES_WAITING + surplus], daemon=True)
            logging.start()
            logging.join(PATIENCE_S)
            assert not logging.is_alive()
            os.read(reading, filled)
            *lines, loss = drain(reading, "lines of this log were lost")
    assert [line["number"] for line in lines] == list(range(len(lines)))
    assert len(lines) + loss["lines"] == LINES_WAITING + surplus
    assert surplus - LINES_ON_THEIR_WAY <= loss["lines"] <= surplus


def test_lines_that_wait_leave_together_unless_others_could_come_between(monkeypatch: pytest.MonkeyPatch) -> None:
    write, pieces = os.write, []

    def note(descriptor: int, piece: memoryview) -> int:
        pieces.append(bytes(piece))
        return write(descriptor, piece)

    with pipe() as (reading, writing):
        filled = fill(writing)
        with daemon_log("json", "info", writing):
            monkeypatch.setattr(os, "write", note)
            log_lines(100)
            structlog.get_logger().info("line", number=100, text="x" * 5000)
            log_lines(100)
            structlog.get_logger().info("the last")
            os.read(reading, filled)
            *lines, _ = drain(reading, "the last")
    assert [line["number"] for line in lines] == [*range(100), 100, *range(100)]
    assert len(pieces) < len(lines) / 2
    assert all(len(piece) <= 4096 or piece.count(b"\n") <= 1 for piece in pieces)


def test_a_pipe_that_nobody_reads_does_not_keep_the_daemon_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.daemon_log.LAST_LINES_S", 0.05)
    with pipe() as (reading, writing):
        filled = fill(writing)
        with daemon_log("json", "info", writing):
            log_lines(LINES_WAITING * 2)
        assert os.read(reading, 2 * filled) == b"x" * filled
