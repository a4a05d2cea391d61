import io
import json
from collections.abc import Iterator

import pytest
import structlog

from gateway.daemon_log import configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_has_the_event_and_its_facts() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    structlog.get_logger().info("session started", peer=3)
    structlog.get_logger().debug("not asked for")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line).items() >= {"event": "session started", "peer": 3, "level": "info"}.items()


def test_json_holds_a_traceback_in_the_same_line() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_type"] == "ZeroDivisionError"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(log_format: str) -> None:
    stream = io.StringIO()
    configure_logging(log_format, "info", stream)
    secret = "hunter" + "2"
    try:
        _ = 1 // len(secret[len(secret) :])
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
    assert "ZeroDivisionError" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_the_console_is_for_people() -> None:
    stream = io.StringIO()
    configure_logging("console", "warning", stream)
    structlog.get_logger().warning("certificate expires", days=3)
    assert "certificate expires" in stream.getvalue()
    assert "days=3" in stream.getvalue()


def test_a_closed_stream_is_no_reason_to_fail() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    stream.close()
    structlog.get_logger().info("nobody hears this")
