from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tunnel.mangling import mangled
from tests.unit.tunnel.vectors import CLIENT, SERVER
from tunnel.errors import BadPacket
from tunnel.wire import (
    HEADER_SIZE,
    UNSET_SESSION_ID,
    ControlPacket,
    EarlyNegotiation,
    Opcode,
    build_control_body,
    build_control_header,
    build_early_negotiation,
    key_id_of,
    opcode_of,
    parse_control_untrusted,
    parse_early_negotiation_untrusted,
)

CONTROL_OPCODES = [opcode for opcode in Opcode if opcode not in (Opcode.DATA_V1, Opcode.DATA_V2)]
session_ids = st.binary(min_size=8, max_size=8).filter(lambda octets: octets != UNSET_SESSION_ID)
u32 = st.integers(0, 0xFFFFFFFF)


@st.composite
def control_packets(draw: st.DrawFn) -> ControlPacket:
    opcode = draw(st.sampled_from(CONTROL_OPCODES))
    acks = tuple(draw(st.lists(u32, max_size=8)))
    is_ack = opcode is Opcode.ACK_V1
    return ControlPacket(
        opcode,
        draw(st.integers(0, 7)),
        draw(session_ids),
        acks,
        draw(session_ids) if acks else None,
        None if is_ack else draw(u32),
        b"" if is_ack else draw(st.binary(max_size=64)),
    )


def build(packet: ControlPacket) -> bytes:
    return build_control_header(packet) + build_control_body(packet)


def parse(data: bytes) -> ControlPacket:
    return parse_control_untrusted(data[:HEADER_SIZE], data[HEADER_SIZE:])


@given(control_packets())
def test_a_control_packet_survives_building_and_parsing(packet: ControlPacket) -> None:
    assert parse(build(packet)) == packet


@given(st.binary(max_size=80))
def test_whatever_parses_builds_back_to_the_same_octets(data: bytes) -> None:
    try:
        packet = parse(data)
    except BadPacket:
        return
    assert build(packet) == data


def test_a_client_reset_has_fourteen_octets() -> None:
    reset = ControlPacket(Opcode.HARD_RESET_CLIENT_V2, 0, CLIENT, message_id=0)
    assert build(reset).hex() == "38" + CLIENT.hex() + "00" + "00000000"


def test_acknowledgements_stand_before_the_session_they_are_for() -> None:
    packet = ControlPacket(Opcode.CONTROL_V1, 1, SERVER, (7, 8), CLIENT, 9, b"tls")
    expected = "21" + SERVER.hex() + "02" + "00000007" + "00000008" + CLIENT.hex() + "00000009" + b"tls".hex()
    assert build(packet).hex() == expected


def test_the_first_octet_holds_opcode_and_key_id() -> None:
    data = build(ControlPacket(Opcode.SOFT_RESET_V1, 5, CLIENT, message_id=0))
    assert (opcode_of(data), key_id_of(data)) == (Opcode.SOFT_RESET_V1, 5)


@pytest.mark.parametrize("opcode", [0, 1, 2, Opcode.DATA_V1, Opcode.DATA_V2, 12, 31])
def test_an_opcode_that_is_not_a_control_packets_is_refused(opcode: int) -> None:
    with pytest.raises(BadPacket, match=f"opcode {opcode}"):
        parse(bytes([opcode << 3]) + CLIENT + bytes(5))


def test_an_all_zero_session_id_is_refused() -> None:
    with pytest.raises(BadPacket, match="all zeros"):
        parse(bytes([Opcode.CONTROL_V1 << 3]) + UNSET_SESSION_ID + bytes(5))


def test_nine_acknowledgements_are_refused_and_eight_are_not() -> None:
    eight = ControlPacket(Opcode.ACK_V1, 0, CLIENT, tuple(range(8)), SERVER)
    assert parse(build(eight)) == eight
    with pytest.raises(BadPacket, match="9 acknowledgements"):
        parse(build(ControlPacket(Opcode.ACK_V1, 0, CLIENT, tuple(range(9)), SERVER)))


def test_octets_behind_an_ack_are_refused() -> None:
    with pytest.raises(BadPacket, match="follow an ACK_V1"):
        parse(build(ControlPacket(Opcode.ACK_V1, 0, CLIENT, (1,), SERVER)) + b"x")


def test_an_ack_of_nothing_is_a_packet_that_says_nothing() -> None:
    assert parse(bytes([Opcode.ACK_V1 << 3]) + CLIENT + b"\0") == ControlPacket(Opcode.ACK_V1, 0, CLIENT)


def test_a_packet_cut_anywhere_before_its_payload_is_refused() -> None:
    data = build(ControlPacket(Opcode.CONTROL_V1, 0, CLIENT, (1, 2), SERVER, 3))
    for size in range(len(data)):
        with pytest.raises(BadPacket):
            parse(data[:size])


def test_damaged_packets_raise_nothing_but_bad_packet() -> None:
    data = build(ControlPacket(Opcode.CONTROL_V1, 0, CLIENT, (1, 2, 3), SERVER, 3, b"payload"))
    refused = 0
    for damaged in mangled(data):
        try:
            parse(damaged)
        except BadPacket:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("resend_wkc", [False, True])
def test_early_negotiation_survives_building_and_parsing(*, resend_wkc: bool) -> None:
    negotiation = EarlyNegotiation(resend_wkc)
    assert parse_early_negotiation_untrusted(build_early_negotiation(negotiation)) == negotiation


def test_resend_wkc_is_one_flag_of_two_octets() -> None:
    assert build_early_negotiation(EarlyNegotiation(resend_wkc=True)).hex() == "000100020001"


def test_unknown_types_of_early_negotiation_are_skipped() -> None:
    payload = bytes.fromhex("7777 0003 aabbcc 0001 0002 ff01 0002 0000")
    assert parse_early_negotiation_untrusted(payload) == EarlyNegotiation(resend_wkc=True)


@pytest.mark.parametrize("payload", ["00", "000100", "00010002", "0001000200", "777700ff00", "0001000101", "00010000"])
def test_early_negotiation_that_is_cut_or_missized_is_refused(payload: str) -> None:
    with pytest.raises(BadPacket):
        parse_early_negotiation_untrusted(bytes.fromhex(payload))


@given(st.binary(max_size=40))
def test_any_early_negotiation_parses_or_is_a_bad_packet(payload: bytes) -> None:
    try:
        parse_early_negotiation_untrusted(payload)
    except BadPacket:
        assert payload
