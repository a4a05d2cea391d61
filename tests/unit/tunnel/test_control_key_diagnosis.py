from __future__ import annotations

import pytest

from tests.unit.tunnel.mangling import mangled
from tests.unit.tunnel.vectors import CLIENT, KEY, REPLAY_ID
from tunnel.control_key_diagnosis import diagnose_control_key_untrusted
from tunnel.control_wrap import PlainWrap, TlsAuthWrap, TlsCryptWrap
from tunnel.front_door import FrontDoorKeys
from tunnel.static_key import KeyDirection, StaticKey
from tunnel.wire import ControlPacket, Opcode

KEYS = FrontDoorKeys(tls_auth=KEY)
RESET = ControlPacket(Opcode.HARD_RESET_CLIENT_V2, 0, CLIENT, message_id=0)
FOREIGN = StaticKey(bytes(256))


@pytest.mark.parametrize(
    ("direction", "digest", "expected"),
    [
        (KeyDirection.NORMAL, "SHA1", "uses auth SHA1 and key-direction 0 or none"),
        (KeyDirection.BIDIRECTIONAL, "SHA512", "uses auth SHA512 and key-direction 0 or none"),
        (KeyDirection.INVERSE, "SHA256", "uses auth SHA256 and key-direction 1"),
    ],
)
def test_the_right_key_with_other_settings_is_named(direction: KeyDirection, digest: str, expected: str) -> None:
    packet = TlsAuthWrap(KEY, direction, digest).seal(RESET, REPLAY_ID)
    sentence = diagnose_control_key_untrusted(packet, KEYS)
    assert expected in sentence
    assert "wants auth SHA1 and key-direction 1" in sentence


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (PlainWrap().seal(RESET, REPLAY_ID), "It has no protection."),
        (TlsAuthWrap(FOREIGN, KeyDirection.INVERSE).seal(RESET, REPLAY_ID), "tls-auth with SHA1."),
        (TlsAuthWrap(FOREIGN, KeyDirection.INVERSE, "SHA512").seal(RESET, REPLAY_ID), "tls-auth with SHA512."),
        (TlsCryptWrap(FOREIGN, server=False).seal(RESET, REPLAY_ID), "tls-crypt, or tls-auth with SHA256."),
        (b"", "under any control-channel key of this endpoint."),
        (bytes([Opcode.HARD_RESET_CLIENT_V3 << 3]) + bytes(400), "tls-crypt-v2 server key."),
    ],
)
def test_what_no_key_explains_is_guessed_from_its_shape(packet: bytes, expected: str) -> None:
    assert diagnose_control_key_untrusted(packet, KEYS).endswith(expected)
    assert diagnose_control_key_untrusted(packet, FrontDoorKeys(plain=True)).endswith(expected)


def test_every_damaged_packet_gets_a_sentence() -> None:
    packet = TlsAuthWrap(KEY, KeyDirection.NORMAL).seal(RESET, REPLAY_ID)
    for damaged in mangled(packet, count=200):
        assert diagnose_control_key_untrusted(damaged, KEYS).endswith(".")
