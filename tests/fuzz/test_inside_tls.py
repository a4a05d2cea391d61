"""What a client with a good certificate says inside TLS: it is authenticated, and may still be hostile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.strategies import cuts, damaged, texts
from tests.unit.tunnel.link import Link
from tests.unit.tunnel.test_connection import client_config
from tunnel.control_messages import EXIT, MAX_MESSAGE, MAX_UNREAD, PUSH_REQUEST, MessageReader, build_message
from tunnel.data_keys import Cipher
from tunnel.errors import HandshakeError
from tunnel.events import AuthenticationRequested, Closed, Established, ExitRequested, KeyDerived
from tunnel.key_method import KeyMethod2, KeySource, build_key_method, parse_key_method_untrusted
from tunnel.negotiation import MAX_OPTIONS_STRING, answer_options_string, negotiate
from tunnel.peer_info import MAX_LINE, MAX_NAMES, PeerInfo, build_peer_info, parse_peer_info_untrusted
from tunnel.push import PushReplyReader

if TYPE_CHECKING:
    from tunnel.key_session import KeySession

CIPHERS = (Cipher.AES_256_GCM, Cipher.CHACHA20_POLY1305)
OPTIONS = "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,cipher AES-256-GCM,auth SHA1,key-method 2,tls-client"
PEER_INFO = "IV_VER=2.6.14\nIV_PLAT=linux\nIV_PROTO=990\nIV_CIPHERS=AES-256-GCM:AES-128-GCM\nIV_MTU=1600\n"

source = KeySource.generate(bytes(range(112)))
good_block = build_key_method(KeyMethod2(source, OPTIONS, "ann", "secret", PEER_INFO))
options_strings = st.one_of(
    texts(),
    st.lists(
        st.one_of(
            st.sampled_from(
                [*OPTIONS.split(","), "comp-lzo", "mtu-dynamic 1", "dev-type tap", "cipher \x1b[2J", "cipher"]
            ),
            texts(),
        )
    ).map(",".join),
)
peer_infos = st.one_of(
    texts(),
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(
                    ["IV_PROTO", "IV_CIPHERS", "IV_VER", "IV_NCP", "IV_PLAT", "IV_MTU", "UV_X", "IV_" + "A" * 80]
                ),
                st.one_of(texts(), st.integers().map(str), st.sampled_from(["²", "٣", "9" * 5000, ":" * 300])),
            ).map("=".join),
            texts(),
        ),
        max_size=100,
    ).map("\n".join),
)
blocks = st.one_of(
    damaged(good_block),
    st.binary(max_size=400),
    st.builds(
        lambda options, user, peer_info: build_key_method(KeyMethod2(source, options, user, user, peer_info)),
        options_strings,
        texts(),
        peer_infos,
    ),
    st.integers(0, 70_000).map(lambda size: good_block[:70] + bytes(size)),
)


def is_harmless(text: str) -> bool:
    return all(" " <= char <= "~" for char in text)


@given(block=blocks, from_client=st.booleans())
def test_a_key_method_block_is_read_awaited_or_refused(block: bytes, from_client: bool) -> None:
    """A block gives four texts and its size, None while it is not whole, or `HandshakeError`; nothing else."""
    try:
        parsed = parse_key_method_untrusted(block, from_client=from_client)
    except HandshakeError as error:
        assert error.text.isprintable()
        return
    if parsed is not None:
        found, size = parsed
        assert 0 < size <= len(block)
        assert "\x00" not in found.options + found.username + found.password + found.peer_info
        found.options.encode()


@given(text=peer_infos)
def test_peer_info_is_made_harmless_and_small(text: str) -> None:
    """Whatever a client says about itself: few values, each short, printable, and safe in a shell."""
    info = parse_peer_info_untrusted(text)
    assert len(info.values) <= MAX_NAMES
    for name, value in info.values.items():
        assert len(name) + len(value) < MAX_LINE
        assert is_harmless(value)
        assert not set(value) & set("$(`")
    assert 0 <= int(info.proto) <= 0xFFFF
    assert all(info.ciphers)
    assert parse_peer_info_untrusted(build_peer_info(info.values)) == info


@given(options=options_strings, text=peer_infos)
@example(options="cipher \x1b[2J\n", text="")
def test_negotiation_settles_or_refuses_with_a_harmless_sentence(options: str, text: str) -> None:
    """Every options string and peer info gives a cipher of ours, or a refusal that can go to a log and a terminal."""
    try:
        negotiated = negotiate(parse_peer_info_untrusted(text), options, data_ciphers=CIPHERS)
    except HandshakeError as error:
        assert is_harmless(error.text)
        assert len(error.text) < MAX_MESSAGE
    else:
        assert negotiated.cipher in CIPHERS


@given(options=options_strings)
def test_the_answer_to_an_options_string_is_short_and_printable(options: str) -> None:
    """The echo is never empty, never long, and holds nothing that is not printable ASCII."""
    answer = answer_options_string(options)
    assert 0 < len(answer) <= MAX_OPTIONS_STRING
    assert is_harmless(answer)


@given(octets=st.one_of(st.binary(max_size=300), st.integers(0, 70_000).map(lambda size: b"A" * size)), data=st.data())
def test_messages_are_printable_and_what_is_not_whole_is_bounded(octets: bytes, data: st.DataObject) -> None:
    """Plaintext gives printable messages wherever TLS records cut it; an endless message is refused."""
    reader = MessageReader()
    try:
        for piece in data.draw(cuts(octets)):
            assert all(message and is_harmless(message) for message in reader.feed_untrusted(piece))
            assert len(reader._unfinished) <= MAX_UNREAD
    except HandshakeError:
        assert len(octets) > MAX_UNREAD


@given(messages=st.lists(st.one_of(texts(), st.sampled_from(["PUSH_REPLY,push-continuation 2", "PUSH_REPLY"]))))
def test_a_push_reply_is_collected_whatever_it_holds(messages: list[str]) -> None:
    """The client's reader gives options, None while more is promised, and keeps what it was given, no more."""
    reader = PushReplyReader()
    for message in messages:
        options = reader.feed_untrusted(message)
        assert (options is None) == ("push-continuation 2" in message.split(",")[1:])
    assert len(reader._options) <= sum(message.count(",") for message in messages)


@given(
    options=st.lists(
        st.one_of(
            st.sampled_from(["cipher", "cipher DES-CBC", "cipher AES-256-GCM", "peer-id 99999999999", "peer-id x"]),
            st.sampled_from(["protocol-flags tls-ekm dyn-tls-crypt", "protocol-flags", "key-derivation tls-ekm"]),
            st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)),
        ),
        max_size=6,
    )
)
def test_a_client_takes_any_push_reply_or_ends(options: list[str]) -> None:
    """A server that pushes nonsense gets a client with a key, or one that has closed; never an exception."""
    link = Link(client_config(), authorizes=False)
    link.run(0.5)
    assert link.server is not None
    link.server._say(",".join(["PUSH_REPLY", *options]))
    link.run(10)
    closed = any(isinstance(event, Closed) for event in link.client_events)
    assert closed or any(isinstance(event, KeyDerived) for event in link.client_events)
    assert link.client.peer_id is None or 0 <= link.client.peer_id < 10**8


@given(block=blocks, data=st.data())
def test_any_first_words_inside_tls_lead_to_a_question_or_the_end(block: bytes, data: st.DataObject) -> None:
    """After TLS, any plaintext makes the server ask whom to let in, wait until its deadline, or close: once each."""
    link = Link(client_config(), authorizes=False)
    pieces = data.draw(cuts(block))

    def say(key: KeySession, now: float) -> None:
        for piece in filter(None, pieces):
            key.tls.write(piece)

    link.client._tls_complete = say  # type: ignore[method-assign]
    link.run(1)
    asked = [event for event in link.server_events if isinstance(event, AuthenticationRequested)]
    assert len(asked) <= 1
    link.run(70)
    closed = [event for event in link.server_events if isinstance(event, Closed)]
    assert len(closed) == 1
    assert is_harmless(closed[0].text)


@given(
    words=st.lists(
        st.one_of(
            st.sampled_from([EXIT, PUSH_REQUEST, "AUTH_FAILED", "RESTART", "INFO,x", "CR_RESPONSE,x"]).map(
                build_message
            ),
            st.binary(max_size=40),
        ),
        max_size=30,
    ),
    in_one_record=st.booleans(),
)
def test_any_messages_of_a_live_client_do_no_more_than_end_it(words: list[bytes], in_one_record: bool) -> None:
    """Messages of an established client configure it once and end it once, however often they come."""
    link = Link(client_config())
    link.run(0.5)
    for plaintext in [b"".join(words)] if in_one_record else words:
        if plaintext:
            link.client._keys[0].tls.write(plaintext)
    link.run(10)
    assert link.server_events.count(ExitRequested()) <= 1
    assert link.server_events.count(Established()) == 1
    assert sum(isinstance(event, Closed) for event in link.server_events) <= 1


def test_the_undamaged_block_is_understood() -> None:
    parsed = parse_key_method_untrusted(good_block, from_client=True)
    assert parsed is not None
    assert parsed[0].options == OPTIONS
    info = parse_peer_info_untrusted(parsed[0].peer_info)
    assert isinstance(info, PeerInfo)
    assert negotiate(info, OPTIONS, data_ciphers=CIPHERS).cipher is Cipher.AES_256_GCM
