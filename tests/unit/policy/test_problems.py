from __future__ import annotations

from policy.problems import Severity, error, name_hint, repeats, warning


def test_a_problem_reads_as_place_and_sentence() -> None:
    assert str(error("endpoint[0].vpn_port", "0 is out of range.")) == "endpoint[0].vpn_port: 0 is out of range."


def test_severity_is_an_error_unless_said_otherwise() -> None:
    assert error("a", "b").severity is Severity.ERROR
    assert warning("a", "b").severity is Severity.WARNING


def test_repeats_points_at_all_but_the_first() -> None:
    assert repeats("abcab") == {3, 4}
    assert repeats([]) == set()


def test_the_nearest_known_name_is_hinted_at_in_its_own_case() -> None:
    known = ("subject.OU", "subject.O")
    assert name_hint("subject.ou", known) == 'Did you mean "subject.OU"?'
    assert name_hint("groups", known) == "Use one of: subject.OU, subject.O."
