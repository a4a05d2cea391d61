from __future__ import annotations

import random

from tests.lab.relay import Impairment

DATAGRAMS = 10_000


def delays(impairment: Impairment) -> list[list[float]]:
    chance = random.Random(1)
    return [impairment.copies(chance) for _ in range(DATAGRAMS)]


def test_a_good_path_carries_everything_at_once() -> None:
    assert delays(Impairment()) == [[0.0]] * DATAGRAMS


def test_each_fault_comes_about_as_often_as_asked() -> None:
    outcomes = delays(Impairment(loss=0.1, duplicate=0.2, reorder=0.3))
    arrived = [copies for copies in outcomes if copies]
    assert 0.08 < 1 - len(arrived) / DATAGRAMS < 0.12
    assert 0.17 < sum(len(copies) == 2 for copies in arrived) / len(arrived) < 0.23
    assert 0.27 < sum(copies[0] > 0 for copies in arrived) / len(arrived) < 0.33


def test_the_same_seed_makes_the_same_choices() -> None:
    bad = Impairment(loss=0.3, duplicate=0.3, reorder=0.3)
    assert delays(bad) == delays(bad)
