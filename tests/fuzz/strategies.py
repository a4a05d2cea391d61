"""What strangers send, for all fuzz targets: rubbish, and genuine octets with something wrong about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tunnel.wire import ControlPacket, Opcode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import SearchStrategy

__all__ = ["CONTROL_OPCODES", "authentic_packets", "cuts", "damaged", "rubbish", "session_ids", "texts"]

CONTROL_OPCODES = tuple(opcode for opcode in Opcode if opcode not in (Opcode.DATA_V1, Opcode.DATA_V2))
EXTREME_IDS = (0, 1, 2, 11, 12, 13, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


def rubbish(max_size: int = 300) -> SearchStrategy[bytes]:
    """Octets without sense, many of them behind a first octet that has some."""
    heads = st.builds(lambda opcode, key_id: bytes([opcode << 3 | key_id]), st.integers(0, 31), st.integers(0, 7))
    return st.one_of(
        st.binary(max_size=max_size),
        st.builds(bytes.__add__, heads, st.binary(max_size=max_size)),
        st.builds(lambda head, size: head + bytes(size), heads, st.integers(0, 70_000)),
    )


@st.composite
def damaged(draw: st.DrawFn, octets: bytes) -> bytes:
    """The octets with one or several places changed, removed, repeated or grown; cut short; or as they were."""
    result = bytearray(octets)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(result)))
        match draw(st.sampled_from(("change", "remove", "repeat", "insert", "cut"))):
            case "change" if place < len(result):
                result[place] ^= draw(st.integers(1, 255))
            case "remove":
                del result[place : place + draw(st.integers(1, 16))]
            case "repeat":
                result[place:place] = result[place : place + draw(st.integers(1, 64))]
            case "insert":
                result[place:place] = draw(st.binary(min_size=1, max_size=16))
            case _:
                del result[place:]
    return bytes(result)


@st.composite
def cuts(draw: st.DrawFn, octets: bytes) -> list[bytes]:
    """The octets in pieces, cut anywhere."""
    places = sorted(draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    return [octets[start:end] for start, end in zip([0, *places], [*places, len(octets)], strict=True)]


def session_ids(known: Sequence[bytes]) -> SearchStrategy[bytes]:
    """Mostly one that means something to the receiver."""
    return st.one_of(st.sampled_from(known), st.sampled_from(known), st.binary(min_size=8, max_size=8))


@st.composite
def authentic_packets(draw: st.DrawFn, own: bytes, theirs: bytes, payloads: SearchStrategy[bytes]) -> ControlPacket:
    """A packet that its protection will vouch for, each field of which may be wrong."""
    ids = st.one_of(st.integers(0, 15), st.sampled_from(EXTREME_IDS))
    acks = tuple(draw(st.lists(ids, max_size=8)))
    opcode = draw(st.sampled_from(CONTROL_OPCODES))
    packet = ControlPacket(
        opcode,
        draw(st.integers(0, 7)),
        draw(session_ids((own,))),
        acks,
        draw(session_ids((theirs,))) if acks else None,
        draw(ids),
        draw(payloads),
    )
    if opcode is Opcode.ACK_V1 and draw(st.booleans()):
        return packet._replace(message_id=None, payload=b"")
    return packet


def texts() -> SearchStrategy[str]:
    """Text of all kinds, with the separators that OpenVPN's texts have."""
    return st.one_of(st.text(), st.text(alphabet=st.sampled_from("IV_=,:;%\n\r\x00\x1b \t09azé山\u202e\U0001f600")))
