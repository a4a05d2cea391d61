"""The front door meets whatever anybody sends to the port."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.strategies import authentic_packets, damaged, rubbish
from tests.unit.tunnel.knocking import NOW, REMOTE, UNIX_TIME, Client, client, knock, only
from tests.unit.tunnel.vectors import CLIENT, SERVER
from tunnel.front_door import Admission, FrontDoor, Ignored, Protection, Reply
from tunnel.wire import CLIENT_RESETS, opcode_of

subsets = st.sampled_from([subset for size in range(1, 5) for subset in itertools.combinations(Protection, size)])
LARGEST_REPLY = 110
"""A reset's answer with the longest protection: an amplifier would be worth an attacker's while."""


@st.composite
def first_packets(draw: st.DrawFn, cookie: bytes) -> bytes:
    """Rubbish, damaged resets of every kind of client, and authentic packets with any content."""
    sender = client(draw(st.sampled_from(Protection)))
    match draw(st.sampled_from(("rubbish", "reset", "returning", "authentic"))):
        case "rubbish":
            return draw(rubbish())
        case "reset":
            return draw(damaged(sender.reset()))
        case "returning":
            return draw(damaged(sender.build(sender.returning(cookie))))
        case _:
            return sender.build(draw(authentic_packets(CLIENT, cookie, st.binary(max_size=60))))


@given(accepted=subsets, data=st.data())
def test_a_datagram_is_decided_about_and_costs_no_state_without_the_cookie(
    accepted: tuple[Protection, ...], data: st.DataObject
) -> None:
    """Nothing raises; an answer is short, and goes to resets only; nobody is admitted whose cookie is not ours."""
    door = FrontDoor(only(*accepted))
    packet = data.draw(first_packets(SERVER))
    decision = knock(door, packet)
    match decision:
        case Reply(reply):
            assert opcode_of(packet) in CLIENT_RESETS
            assert len(reply) <= LARGEST_REPLY
        case Admission():
            # Only the holder of a wrapped key of this server, without early negotiation, needs no cookie.
            assert decision.protection is Protection.TLS_CRYPT_V2
            assert decision.needs_reset_reply
        case Ignored():
            pass


@given(accepted=subsets, data=st.data())
def test_the_first_frame_of_a_stream_is_decided_about(accepted: tuple[Protection, ...], data: st.DataObject) -> None:
    """Nothing raises, and who is admitted used a protection that the endpoint accepts."""
    door = FrontDoor(only(*accepted))
    decision = door.receive_stream_untrusted(data.draw(first_packets(SERVER)), UNIX_TIME)
    if isinstance(decision, Admission):
        assert decision.protection in accepted
        assert decision.first.opcode in CLIENT_RESETS


@given(data=st.data(), protection=st.sampled_from(Protection))
def test_a_cookie_is_good_for_its_own_address_session_and_time_only(
    data: st.DataObject, protection: Protection
) -> None:
    """An admission by cookie needs exactly the client, address and time that the cookie was made for."""
    door = FrontDoor(only(protection))
    sender = client(protection)
    cookie = sender.read(knock(door, sender.reset())).session_id
    remote = data.draw(st.sampled_from([REMOTE, (REMOTE[0], 1), ("192.0.2.8", REMOTE[1]), ("2001:db8::1", REMOTE[1])]))
    later = data.draw(st.floats(0, 300))
    packet = sender.build(data.draw(authentic_packets(CLIENT, cookie, st.binary(max_size=60))))
    decision = door.receive_datagram_untrusted(packet, remote, NOW + later, UNIX_TIME + later)
    if isinstance(decision, Admission) and not decision.needs_reset_reply:
        assert remote == REMOTE
        assert later <= 1.5 * 61
        assert decision.first.remote_session_id == cookie
        assert decision.remote_session_id == CLIENT


@given(data=st.data())
def test_a_wrong_key_is_diagnosed_with_a_sentence(data: st.DataObject) -> None:
    """The diagnosis never raises, and never repeats what the stranger sent."""
    door = FrontDoor(only(*Protection))
    sentence = door.diagnose_untrusted(data.draw(first_packets(SERVER)))
    assert sentence.isprintable()
    assert sentence.endswith(".")


def test_every_kind_of_client_gets_in_undamaged() -> None:
    for protection in Protection:
        door, sender = FrontDoor(only(*Protection)), client(protection)
        assert isinstance(sender, Client)
        cookie = sender.read(knock(door, sender.reset())).session_id
        assert isinstance(knock(door, sender.build(sender.returning(cookie))), Admission)
