from __future__ import annotations

import pytest

from tests.unit.tunnel.link import server_tls
from tunnel.key_session import TRANSITIONS, KeySession, KeyStage, KeyStep
from tunnel.reliability import Reliability
from tunnel.wire import Opcode


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


def test_nothing_leaves_in_silence_and_all_of_it_at_its_end() -> None:
    key = session()
    key.silent_until = 10.0
    for number in range(2):
        key.reliability.send(Opcode.CONTROL_V1, bytes([number]), 9.0)
    assert key.packets_to_send(9.0) == []
    assert key.get_timer() == 10.0
    key.handle_timer(9.5)
    assert key.packets_to_send(9.5) == []
    key.handle_timer(10.0)
    assert [packet.payload for packet in key.packets_to_send(10.0)] == [b"\x00", b"\x01"]
    assert key.get_timer() == 11.0
