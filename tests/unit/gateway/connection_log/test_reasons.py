from pathlib import Path

from gateway.connection_log import EXPLANATIONS, RefusalReason
from tunnel.events import CloseReason

MANUAL = Path(__file__).parents[4] / "docs" / "connection-log.md"


def test_every_reason_code_is_explained() -> None:
    assert set(EXPLANATIONS) == {*CloseReason, *RefusalReason}


def test_codes_are_distinct_and_explanations_are_sentences() -> None:
    codes = [reason.value for reason in EXPLANATIONS]
    assert len(set(codes)) == len(codes)
    assert all(text.endswith(".") or ": " in text for text in EXPLANATIONS.values())


def test_the_manual_has_every_reason_with_its_explanation() -> None:
    manual = MANUAL.read_text()
    for reason, explanation in EXPLANATIONS.items():
        assert f"| `{reason.value}` | {explanation} |" in manual
