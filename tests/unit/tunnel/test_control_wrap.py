from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from tests.unit.tunnel.mangling import mangled, mutations
from tests.unit.tunnel.vectors import CLIENT, KEY, REPLAY_ID, SERVER
from tunnel.control_wrap import ControlWrap, PlainWrap, TlsAuthWrap, TlsCryptWrap, WrapKey
from tunnel.errors import BadPacket, LocalError
from tunnel.key_derivation import derive_dynamic_tls_crypt_key
from tunnel.replay_window import ReplayId
from tunnel.static_key import KeyDirection, StaticKey
from tunnel.wire import (
    ControlPacket,
    EarlyNegotiation,
    Opcode,
    build_control_body,
    build_control_header,
    build_early_negotiation,
)

NOW = 0x65000000 + 0.75
RESET = ControlPacket(Opcode.HARD_RESET_CLIENT_V2, 0, CLIENT, message_id=0)
REPLY = ControlPacket(Opcode.HARD_RESET_SERVER_V2, 0, SERVER, (0,), CLIENT, 0)
RESEND_WKC = build_early_negotiation(EarlyNegotiation(resend_wkc=True))
CONTROL = ControlPacket(Opcode.CONTROL_V1, 3, SERVER, (4, 5), CLIENT, 6, b"some TLS")

NORMAL, INVERSE, BOTH = KeyDirection.NORMAL, KeyDirection.INVERSE, KeyDirection.BIDIRECTIONAL
PAIRS: dict[str, tuple[WrapKey, WrapKey]] = {
    "none": (PlainWrap(), PlainWrap()),
    "tls-auth SHA1": (TlsAuthWrap(KEY, NORMAL), TlsAuthWrap(KEY, INVERSE)),
    "tls-auth SHA256": (TlsAuthWrap(KEY, NORMAL, "SHA256"), TlsAuthWrap(KEY, INVERSE, "SHA256")),
    "tls-auth SHA512": (TlsAuthWrap(KEY, INVERSE, "SHA512"), TlsAuthWrap(KEY, NORMAL, "SHA512")),
    "tls-auth without direction": (TlsAuthWrap(KEY, BOTH), TlsAuthWrap(KEY, BOTH)),
    "tls-crypt": (TlsCryptWrap(KEY, server=True), TlsCryptWrap(KEY, server=False)),
}
WRAPPED = [name for name in PAIRS if name != "none"]

VECTORS = [
    pytest.param(
        PAIRS["tls-auth SHA1"][1],
        RESET,
        "380102030405060708602941d9a95a08dd2d0892de37cd48c0953c774200000001650000000000000000",
        id="A1",
    ),
    pytest.param(
        PAIRS["tls-auth SHA256"][1],
        RESET,
        "3801020304050607087a8e3ff36fd2511a4d423bcba2d6cda3d982f8d32959f098f4e0d7e5b89aa9f700000001650000000000000000",
        id="A2",
    ),
    pytest.param(
        PAIRS["tls-crypt"][1],
        RESET,
        "3801020304050607080000000165000000cfccca8dc0e5aba43f54ed925ae825837d70281fd40c461fdde5ff4c89d0c5bb677280b699",
        id="A3",
    ),
    pytest.param(
        PAIRS["tls-crypt"][0],
        REPLY,
        "4011121314151617180000000165000000916c21bc5d66000ca71f818325982ca7144e1e830dfa355ba6a36731fc080406"
        "eb9321d5176ad919439633cb4220c3a5bb",
        id="A4",
    ),
    pytest.param(
        PAIRS["tls-crypt"][0],
        ControlPacket(Opcode.HARD_RESET_SERVER_V2, 0, SERVER, (0,), CLIENT, 0, RESEND_WKC),
        "40111213141516171800000001650000003bf459bd9bbe6246be9fde25c3f6dec4d7c2783fc9c616bdb1731eac7836bcc8"
        "6646a0b7e6d390a41ba04ce7e64fbdaf2a300093b16650",
        id="A5",
    ),
    pytest.param(
        TlsCryptWrap(derive_dynamic_tls_crypt_key(b"\xc3" * 256, KEY), server=True),
        ControlPacket(Opcode.SOFT_RESET_V1, 1, SERVER, message_id=0),
        "19111213141516171800000001650000000b38ceeec0dfc8fd14181df1baf88e30e3893467154650893374fb3c0682ab844c279ae10e",
        id="A18",
    ),
]


@pytest.mark.parametrize(("key", "packet", "expected"), VECTORS)
def test_a_sealed_packet_equals_the_vector(key: WrapKey, packet: ControlPacket, expected: str) -> None:
    assert key.seal(packet, REPLAY_ID).hex() == expected


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("packet", [RESET, REPLY, CONTROL], ids=lambda packet: packet.opcode.name)
def test_each_side_opens_what_the_other_sealed(name: str, packet: ControlPacket) -> None:
    for sender, receiver in (PAIRS[name], PAIRS[name][::-1]):
        opened, replay_id = receiver.open_untrusted(sender.seal(packet, REPLAY_ID))
        assert opened == packet
        assert replay_id == (None if name == "none" else REPLAY_ID)


def test_keys_of_very_many_clients_are_all_told_apart() -> None:
    pairs = [
        (TlsCryptWrap(key, server=True), TlsCryptWrap(key, server=False))
        for key in (StaticKey(number.to_bytes(2, "big") * 128) for number in range(600))
    ]
    for _ in range(2):
        for sender, receiver in pairs:
            assert receiver.open_untrusted(sender.seal(CONTROL, REPLAY_ID))[0] == CONTROL


@pytest.mark.parametrize("name", PAIRS)
def test_the_overhead_is_what_sealing_adds(name: str) -> None:
    key = PAIRS[name][0]
    assert len(key.seal(CONTROL, REPLAY_ID)) == len(PlainWrap().seal(CONTROL, REPLAY_ID)) + key.overhead


@pytest.mark.parametrize("name", [name for name in WRAPPED if "without" not in name])
def test_a_packet_of_ones_own_direction_is_refused(name: str) -> None:
    key = PAIRS[name][0]
    with pytest.raises(BadPacket, match="wrong"):
        key.open_untrusted(key.seal(CONTROL, REPLAY_ID))


@pytest.mark.parametrize("name", WRAPPED)
def test_a_packet_under_another_key_is_refused(name: str) -> None:
    other = StaticKey(bytes(256))
    strangers: list[WrapKey] = [TlsAuthWrap(other, INVERSE), TlsCryptWrap(other, server=False), PlainWrap()]
    for stranger in strangers:
        with pytest.raises(BadPacket):
            PAIRS[name][0].open_untrusted(stranger.seal(RESET, REPLAY_ID))


@pytest.mark.parametrize("name", WRAPPED)
def test_every_flipped_bit_is_noticed(name: str) -> None:
    sender, receiver = PAIRS[name]
    sealed = sender.seal(RESET, REPLAY_ID)
    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadPacket):
            receiver.open_untrusted(bytes(damaged))


@pytest.mark.parametrize("name", WRAPPED)
def test_damaged_packets_are_bad_packets(name: str) -> None:
    sender, receiver = PAIRS[name]
    sealed = sender.seal(CONTROL, REPLAY_ID)
    for damaged in mangled(sealed, count=300):
        if damaged != sealed:
            with pytest.raises(BadPacket):
                receiver.open_untrusted(damaged)


def test_damaged_packets_without_protection_raise_nothing_but_bad_packet() -> None:
    for damaged in mutations(PlainWrap().seal(CONTROL, REPLAY_ID), 300):
        try:
            packet, _ = PlainWrap().open_untrusted(damaged)
        except BadPacket:
            continue
        assert PlainWrap().seal(packet, REPLAY_ID) == damaged


def authentic(body: bytes, digest: str | None) -> bytes:
    """A packet that verifies, with any body at all: what a client with a key, but without manners, may send."""
    header, replay = build_control_header(CONTROL), bytes.fromhex("0000000165000000")
    half = KEY.half(1)
    if digest is not None:
        key = half.hmac[: hashlib.new(digest).digest_size]
        return header + hmac.digest(key, replay + header + body, digest) + replay + body
    tag = hmac.digest(half.hmac[:32], header + replay + body, "sha256")
    return header + replay + tag + Cipher(AES(half.cipher[:32]), CTR(tag[:16])).encryptor().update(body)


@pytest.mark.parametrize(
    ("name", "digest"), [("tls-auth SHA1", "sha1"), ("tls-auth SHA256", "sha256"), ("tls-crypt", None)]
)
def test_authentic_packets_with_damaged_bodies_raise_nothing_but_bad_packet(name: str, digest: str | None) -> None:
    receiver = PAIRS[name][0]
    body = build_control_body(CONTROL)
    assert receiver.open_untrusted(authentic(body, digest)) == (CONTROL, REPLAY_ID)
    for damaged in mangled(body, count=300):
        try:
            packet, _ = receiver.open_untrusted(authentic(damaged, digest))
        except BadPacket:
            continue
        assert build_control_body(packet) == damaged


@pytest.mark.parametrize("digest", ["SHA1", "sha1", "SHA256", "SHA512", "sha-512"])
def test_digests_have_openvpns_names(digest: str) -> None:
    assert TlsAuthWrap(KEY, NORMAL, digest).overhead in (28, 40, 72)


@pytest.mark.parametrize("digest", ["", "none", "SHAKE128", "whirlpool9"])
def test_an_impossible_digest_is_the_administrators_mistake(digest: str) -> None:
    with pytest.raises(LocalError, match="use SHA1, SHA256 or SHA512"):
        TlsAuthWrap(KEY, NORMAL, digest)


def sent_ids(wrap: ControlWrap, times: list[float]) -> list[ReplayId | None]:
    opener = PAIRS["tls-crypt"][1]
    return [opener.open_untrusted(wrap.wrap(CONTROL, time))[1] for time in times]


def test_ids_have_no_gaps_and_the_time_stays_that_of_the_first_packet() -> None:
    wrap = ControlWrap(PAIRS["tls-crypt"][0])
    assert sent_ids(wrap, [100.9, 105.0, 99.0]) == [ReplayId(100, 1), ReplayId(100, 2), ReplayId(100, 3)]


def test_a_count_can_continue_where_a_stateless_reply_left_it() -> None:
    wrap = ControlWrap(PAIRS["tls-crypt"][0], next_replay_id=2, replay_time=50)
    assert sent_ids(wrap, [100, 100]) == [ReplayId(50, 2), ReplayId(50, 3)]


@pytest.mark.parametrize(("clock", "expected"), [(200.0, 200), (50.0, 51), (10.0, 51)])
def test_a_count_that_ends_starts_over_under_a_later_time(clock: float, expected: int) -> None:
    wrap = ControlWrap(PAIRS["tls-crypt"][0], next_replay_id=0xFFFFFFFF, replay_time=50)
    assert sent_ids(wrap, [60, clock, clock]) == [
        ReplayId(50, 0xFFFFFFFF),
        ReplayId(expected, 1),
        ReplayId(expected, 2),
    ]


@pytest.mark.parametrize("name", WRAPPED)
def test_a_replayed_packet_is_refused(name: str) -> None:
    sender, receiver = ControlWrap(PAIRS[name][0]), ControlWrap(PAIRS[name][1])
    first, second = sender.wrap(CONTROL, NOW), sender.wrap(RESET, NOW)
    assert receiver.unwrap_untrusted(second) == RESET
    assert receiver.unwrap_untrusted(first) == CONTROL
    for replayed in (first, second):
        with pytest.raises(BadPacket, match="replayed"):
            receiver.unwrap_untrusted(replayed)


def test_a_forged_packet_does_not_move_the_window() -> None:
    sender, receiver = ControlWrap(PAIRS["tls-crypt"][0]), ControlWrap(PAIRS["tls-crypt"][1])
    forged = bytearray(PAIRS["tls-crypt"][0].seal(CONTROL, ReplayId(0xFFFFFFFF, 0xFFFFFFFF)))
    forged[-1] ^= 1
    with pytest.raises(BadPacket):
        receiver.unwrap_untrusted(bytes(forged))
    assert receiver.unwrap_untrusted(sender.wrap(CONTROL, NOW)) == CONTROL


def test_what_was_opened_elsewhere_is_a_replay_here() -> None:
    receiver = ControlWrap(PAIRS["tls-crypt"][1])
    assert receiver.accept(REPLAY_ID)
    with pytest.raises(BadPacket, match="replayed"):
        receiver.unwrap_untrusted(PAIRS["tls-crypt"][0].seal(CONTROL, REPLAY_ID))


def test_without_protection_there_are_no_replays() -> None:
    wrap = ControlWrap(PlainWrap())
    data = wrap.wrap(CONTROL, NOW)
    assert wrap.unwrap_untrusted(data) == wrap.unwrap_untrusted(data) == CONTROL
    assert wrap.overhead == 0
