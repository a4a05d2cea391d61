from __future__ import annotations

from collections import Counter

import pytest

from tests.bench.scenarios import IMIX, SCENARIOS, UnknownScenarioError, select


def test_names_are_unique() -> None:
    assert max(Counter(scenario.name for scenario in SCENARIOS).values()) == 1


def test_without_a_choice_everything_is_measured() -> None:
    assert select() == SCENARIOS


def test_quick_is_a_part_of_it() -> None:
    quick = select(quick=True)
    assert quick
    assert len(quick) < len(SCENARIOS)
    assert all(scenario.quick for scenario in quick)


def test_named_ones_come_in_the_order_of_the_list() -> None:
    assert [scenario.name for scenario in select(["latency", "tcp"])] == ["tcp", "latency"]


def test_a_name_counts_even_if_it_is_not_quick() -> None:
    assert [scenario.name for scenario in select(["crowd"], quick=True)] == ["crowd"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownScenarioError, match=r"no scenario nothing; there are tcp, .*crowd"):
        select(["nothing"])


def test_imix_is_seven_to_four_to_one() -> None:
    assert Counter(IMIX) == {40: 7, 576: 4, 1400: 1}
