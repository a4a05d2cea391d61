from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.timestamps import timestamp


def test_a_moment_is_written_as_aws_does_without_its_fraction() -> None:
    assert timestamp(1769847302.999) == "2026-01-31 08:15:02"


@given(st.floats(min_value=0, max_value=4e9))
def test_what_is_written_is_the_second_that_the_moment_is_in(unix_s: float) -> None:
    written = datetime.strptime(timestamp(unix_s), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert written.timestamp() <= unix_s < written.timestamp() + 1
