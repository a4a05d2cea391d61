from __future__ import annotations

import pytest

from gateway.config.problems import ConfigError, Problem, WrongValue, refuse


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("a.b", "Wrong."), "a.b: Wrong."),
        (Problem("endpoint[0].b", "Wrong.", 'endpoint "x"'), 'endpoint[0].b (endpoint "x"): Wrong.'),
        (Problem("", "Everything is wrong."), "Everything is wrong."),
    ],
)
def test_a_problem_is_a_line_that_begins_with_its_place(problem: Problem, line: str) -> None:
    assert str(problem) == line


def test_an_error_has_a_line_per_problem() -> None:
    error = ConfigError((Problem("a", "One."), Problem("b", "Two.")))
    assert str(error) == "a: One.\nb: Two."
    assert len(error.problems) == 2


def test_only_what_is_wrong_is_refused() -> None:
    refuse([])
    with pytest.raises(WrongValue) as caught:
        refuse(iter(["one", "two"]))
    assert caught.value.sentences == ("one", "two")
