from __future__ import annotations

import pytest

from tests.bench.figures import DIRECTED, PLAIN, READ, READS, label_of, medians, shown


def test_a_median_is_taken_of_each_figure_and_server() -> None:
    runs = {"tcp": {"native": [{"a": 1.0, "b": 9.0}, {"a": 5.0, "b": 7.0}, {"a": 3.0, "b": 8.0}], "openvpn": []}}
    assert medians(runs) == {"tcp": {"native": {"a": 3.0, "b": 8.0}}}


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("name", DIRECTED)
def test_a_direction_stands_before_the_figure(direction: str, name: str) -> None:
    assert label_of(f"{direction}.{name}").label == f"{direction}: {DIRECTED[name].label}"


@pytest.mark.parametrize("what", READS)
@pytest.mark.parametrize("name", READ)
def test_what_is_read_stands_before_the_figure(what: str, name: str) -> None:
    assert label_of(f"{what}.{name}").label == f"{what}: {READ[name].label}"


def test_other_names_may_have_dots_too() -> None:
    assert label_of("idle.p50_ms") is PLAIN["idle.p50_ms"]


def test_a_figure_has_the_decimals_that_mean_anything() -> None:
    assert shown("up.mbit_per_s", 1234.56) == "1,235"
    assert shown("cpu_ms", 1.2345) == "1.23"
