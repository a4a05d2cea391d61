from __future__ import annotations

import json

import pytest

from tests.bench.cost import Usage
from tests.bench.transfers import Received, cost_of_octets, cost_of_packets, parse_report
from tests.lab import LabError

SPENT = Usage(user_s=1.0, system_s=3.0, resident=0, proportional=0)


def test_cost_is_for_each_gigabyte() -> None:
    assert cost_of_octets(SPENT, 2e9, 5.0) == {
        "cpu_s_per_gb": 2.0,
        "user_s_per_gb": 0.5,
        "system_s_per_gb": 1.5,
        "cores": 0.8,
    }


def test_cost_is_for_each_packet_that_arrived() -> None:
    arrived = {"packets": 1_000_000, "octets": 64_000_000, "seconds": 2.0}
    sent = {"packets": 3_000_000, "octets": 192_000_000, "seconds": 4.0}
    figures = cost_of_packets(SPENT, arrived, sent)
    assert figures["kpps"] == 500
    assert figures["mbit_per_s"] == 256
    assert figures["us_per_packet"] == 4
    assert (figures["user_us_per_packet"], figures["system_us_per_packet"]) == (1, 3)
    assert figures["cores"] == 1
    assert figures["offered_kpps"] == 750


def test_of_tcp_the_receivers_side_counts() -> None:
    report = {"end": {"sum_sent": {"bytes": 11}, "sum_received": {"bytes": 10, "bits_per_second": 8e6}}}
    assert parse_report(json.dumps(report)) == Received(10, 8, 0)


def test_of_udp_what_was_lost_does_not_count() -> None:
    report = {"end": {"sum": {"bytes": 1000, "bits_per_second": 8e6, "lost_percent": 25.0}}}
    assert parse_report(json.dumps(report)) == Received(750, 6, 25)


def test_what_iperf_complains_of_is_said() -> None:
    with pytest.raises(LabError, match="unable to connect"):
        parse_report(json.dumps({"error": "unable to connect"}))
