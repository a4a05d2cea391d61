from __future__ import annotations

import pytest

from tests.bench.measure import can_do
from tests.bench.scenarios import Crowd, Reads, RuleChanges
from tests.bench.servers import Contestant


@pytest.mark.parametrize(
    ("work", "able"),
    [
        (Crowd(), ["native", "python", "openvpn"]),
        (RuleChanges(), ["native", "python"]),
        (Reads(), ["native"]),
    ],
    ids=["crowd", "rule changes", "reads"],
)
def test_what_needs_an_api_is_asked_of_those_that_have_one(work: Crowd | RuleChanges | Reads, able: list[str]) -> None:
    assert [contestant.value for contestant in Contestant if can_do(contestant, work)] == able
