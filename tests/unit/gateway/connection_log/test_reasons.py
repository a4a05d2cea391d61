from gateway.connection_log import EXPLANATIONS, RefusalReason
from tunnel.events import CloseReason


def test_every_reason_code_is_explained() -> None:
    assert set(EXPLANATIONS) == {*CloseReason, *RefusalReason}


def test_codes_are_distinct_and_explanations_are_sentences() -> None:
    codes = [reason.value for reason in EXPLANATIONS]
    assert len(set(codes)) == len(codes)
    assert all(text.endswith(".") or ": " in text for text in EXPLANATIONS.values())
