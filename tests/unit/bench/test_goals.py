from __future__ import annotations

import pytest

from tests.bench.figures import label_of
from tests.bench.goals import GOALS, Goal, Kind, Outcome, Place, outcomes
from tests.bench.scenarios import SCENARIOS


def reached(medians: dict[str, dict[str, dict[str, float]]]) -> dict[Place, Outcome]:
    return {outcome.goal.place: outcome for outcome in outcomes(medians)}


def test_a_ratio_is_to_openvpn_in_the_same_scenario() -> None:
    place = Place("tcp", "up.cpu_s_per_gb")
    found = reached({"tcp": {"native": {"up.cpu_s_per_gb": 1.0}, "openvpn": {"up.cpu_s_per_gb": 4.0}}})
    assert list(found) == [place]
    assert found[place].reached == 0.25
    assert found[place].met


def test_throughput_of_our_client_is_compared_with_openvpn_on_both_ends() -> None:
    found = reached(
        {
            "tcp": {"openvpn": {"up.mbit_per_s": 500.0}},
            "load-tcp": {"native": {"up.mbit_per_s": 2500.0}, "openvpn": {"up.mbit_per_s": 900.0}},
        }
    )
    outcome = found[Place("load-tcp", "up.mbit_per_s")]
    assert outcome.reached == 5
    assert not outcome.met


def test_a_difference_is_to_another_figure_of_the_same_server() -> None:
    native = {"idle.p99_ms": 0.5, "busy.p99_ms": 1.25}
    (outcome,) = outcomes({"latency": {"native": native}})
    assert outcome.goal.kind is Kind.DIFFERENCE
    assert outcome.reached == 0.75
    assert outcome.met


def test_a_limit_of_nothing_is_met_by_nothing_alone() -> None:
    place = Place("crowd", "lost")
    assert reached({"crowd": {"native": {"lost": 0.0}}})[place].met
    assert not reached({"crowd": {"native": {"lost": 1.0}}})[place].met


def test_what_was_not_measured_has_no_outcome() -> None:
    assert outcomes({}) == []
    assert outcomes({"tcp": {"native": {"up.cpu_s_per_gb": 1.0}}}) == []
    assert outcomes({"tcp": {"openvpn": {"up.cpu_s_per_gb": 1.0}}}) == []


def test_openvpn_at_nothing_has_no_ratio() -> None:
    assert outcomes({"connects": {"native": {"cpu_ms": 1.0}, "openvpn": {"cpu_ms": 0.0}}}) == []


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.text)
def test_goals_are_about_figures_that_there_are(goal: Goal) -> None:
    for place in filter(None, (goal.place, goal.against)):
        assert place.scenario in {scenario.name for scenario in SCENARIOS}
        label_of(place.figure)
