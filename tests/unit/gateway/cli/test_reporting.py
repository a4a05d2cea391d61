from __future__ import annotations

import pytest
import typer

from gateway.cli.reporting import fail, failing_with_sentences, say


def test_sayings_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    say("Something.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Something.\n")


def test_failing_has_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail("No.").exit_code == 1
    assert capsys.readouterr().err == "No.\n"


def test_an_expected_error_becomes_its_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), failing_with_sentences(KeyError, ValueError):
        raise ValueError("It is wrong.")
    assert capsys.readouterr().err == "It is wrong.\n"


def test_an_unexpected_error_is_not_hidden() -> None:
    with pytest.raises(TypeError), failing_with_sentences(ValueError):
        raise TypeError
