from __future__ import annotations

import pytest

from tests.unit.tunnel.link import server_tls
from tunnel.key_session import TRANSITIONS, KeySession, KeyStage, KeyStep
from tunnel.reliability import Reliability


def session() -> KeySession:
    return KeySession(0, Reliability(b"server00", b"client00"), server_tls().new_session(), deadline=60.0)


def test_a_key_lives_through_every_stage_in_one_order() -> None:
    key = session()
    stages = [key.stage]
    for step in KeyStep:
        key.take(step)
        stages.append(key.stage)
    assert stages == list(KeyStage)


def test_each_step_leads_somewhere_from_exactly_one_stage() -> None:
    assert sorted(step.name for _, step in TRANSITIONS) == sorted(step.name for step in KeyStep)


@pytest.mark.parametrize("step", [step for step in KeyStep if step is not KeyStep.TLS_COMPLETE])
def test_no_step_can_be_skipped(step: KeyStep) -> None:
    with pytest.raises(KeyError):
        session().take(step)
