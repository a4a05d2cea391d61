from __future__ import annotations

import pytest

from tests.bench.sessions import percentile, round_trips_ms
from tests.lab import LabError


def test_pings_are_read_with_their_times() -> None:
    said = (
        "64 bytes from 10.20.0.10: icmp_seq=1 ttl=63 time=0.708 ms\n"
        "64 bytes from 10.20.0.10: icmp_seq=3 ttl=63 time=12 ms\n"
        "rtt min/avg/max/mdev = 0.665/0.682/0.708/0.018 ms\n"
    )
    assert round_trips_ms(said) == [0.708, 12.0]


def test_percentiles_lie_within_what_was_measured() -> None:
    values = [float(value) for value in range(101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([1.0, 1.0], 99) == 1.0


def test_a_single_ping_says_nothing() -> None:
    with pytest.raises(LabError):
        percentile([1.0], 50)
