"""A client that got past the front door, and wants harm: what it costs has bounds, and nothing it says raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import crypto

from tests.lab.authority import LabAuthority
from tests.unit.tunnel.link import Link, server_config
from tests.unit.tunnel.test_connection import client_config, reasons
from tunnel.client import MODERN_CLIENT
from tunnel.control_messages import EXIT, PUSH_REQUEST, build_message
from tunnel.control_wrap import PlainWrap
from tunnel.events import Closed, CloseReason, Established, ExitRequested
from tunnel.peer_info import IvProto
from tunnel.replay_window import ReplayId
from tunnel.tls import TlsClientContext, TlsServerContext, TlsSession
from tunnel.wire import MAX_CONTROL_PACKET, ControlPacket, Opcode

if TYPE_CHECKING:
    from pathlib import Path

    from tunnel.connection import ServerConnection


def connected(link: Link) -> ServerConnection:
    link.run(0.5)
    assert link.server is not None
    assert Established() in link.server_events
    return link.server


def control(link: Link, message_id: int, payload: bytes, opcode: Opcode = Opcode.CONTROL_V1) -> bytes:
    """An unprotected control packet of the link's client."""
    packet = ControlPacket(opcode, 0, link.client.session_id, message_id=message_id, payload=payload)
    return PlainWrap().seal(packet, ReplayId(0, 1))


def flood(link: Link, server: ServerConnection, count: int) -> None:
    """In-order messages, one after the other, as long as somebody counts them."""
    (key,) = server._keys.values()
    for _ in range(count):
        server.receive_packet(control(link, key.reliability._next_receive_id, bytes(1400)), link.now)
        server.packets_to_send(link.now)


def test_a_connection_that_closes_reads_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link(client_config())
    server = connected(link)
    server.halt(CloseReason.TERMINATED, "bye", link.now)
    assert server.packets_to_send(link.now)
    given: list[bytes] = []
    monkeypatch.setattr(TlsSession, "receive", lambda _, octets: given.append(octets))
    flood(link, server, 500)
    assert given == []
    assert not server.is_closed


def test_a_client_that_left_is_not_listened_to() -> None:
    link = Link(client_config())
    server = connected(link)
    link.client._keys[0].tls.write(b"".join(map(build_message, [EXIT, PUSH_REQUEST, EXIT] * 500)))
    link.run(0.5)
    assert link.server_events.count(ExitRequested()) == 1
    assert not server.is_closed
    link.run(5)
    assert reasons(link) == [CloseReason.CLIENT_EXIT]


def test_oversized_control_packets_do_not_wait_for_their_turn() -> None:
    link = Link(client_config())
    server = connected(link)
    (key,) = server._keys.values()
    ahead = key.reliability._next_receive_id + 1
    server.receive_packet(control(link, ahead, bytes(MAX_CONTROL_PACKET)), link.now)
    assert not key.reliability._early
    assert server.bad_packets == 1
    assert server.packets_to_send(link.now) == []


def test_floods_of_push_requests_and_acknowledgements_get_no_answer() -> None:
    link = Link(client_config())
    server = connected(link)
    for _ in range(50):
        link.client._keys[0].tls.write(build_message(PUSH_REQUEST))
        link.run(0.1)
    assert len([option for option in link.client.options if option.startswith("ifconfig ")]) == 1
    sent = 0
    for message_id in range(2000):
        acks = (message_id, 0xFFFFFFFF - message_id)
        packet = ControlPacket(Opcode.ACK_V1, 0, link.client.session_id, acks, server.session_id)
        server.receive_packet(PlainWrap().seal(packet, ReplayId(0, 1)), link.now)
        sent += len(server.packets_to_send(link.now))
    assert sent == 0
    assert not server.is_closed


def test_repeated_messages_are_acknowledged_once_each_and_no_more() -> None:
    link = Link(client_config())
    server = connected(link)
    octets = control(link, 1, bytes(1000))
    answers = []
    for _ in range(500):
        server.receive_packet(octets, link.now)
        answers += server.packets_to_send(link.now)
    assert len(answers) <= 500
    assert max(map(len, answers)) < 100


def test_a_storm_of_soft_resets_costs_one_handshake() -> None:
    link = Link(client_config(proto=MODERN_CLIENT & ~IvProto.DYN_TLS_CRYPT))
    server = connected(link)
    handshakes = 0
    new_session = server._new_tls

    def count() -> object:
        nonlocal handshakes
        handshakes += 1
        return new_session()

    server._new_tls = count  # type: ignore[method-assign,assignment]
    link.now += 2
    for number in range(2000):
        packet = ControlPacket(Opcode.SOFT_RESET_V1, number % 8, link.client.session_id, message_id=0)
        server.receive_packet(PlainWrap().seal(packet, ReplayId(0, 1)), link.now)
        server.packets_to_send(link.now)
    assert handshakes == 1
    assert len(server._keys) == 2


def test_the_refusal_of_a_cipher_repeats_nothing_that_could_harm_a_terminal() -> None:
    link = Link(client_config(ciphers=(), options="V4,dev-type tun,cipher \x1b[2J\nBF-CBC,tls-client"))
    link.run(10)
    (closed,) = [event for event in link.server_events if isinstance(event, Closed)]
    assert closed.reason is CloseReason.NO_COMMON_CIPHER
    assert closed.text.isprintable()
    assert "BF-CBC" in closed.text


def test_a_server_that_pushes_an_unknown_cipher_ends_the_client() -> None:
    link = Link(client_config(), authorizes=False)
    link.run(0.5)
    assert link.server is not None
    link.server._say("PUSH_REPLY,cipher ROT13,peer-id 123456789012345678901234567890")
    link.run(10)
    closed = [event.reason for event in link.client_events if isinstance(event, Closed)]
    assert closed == [CloseReason.NO_COMMON_CIPHER]
    assert link.client.peer_id is None


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest.mark.parametrize("trusted", [True, False], ids=["of our authority", "of a foreign authority"])
def test_a_certificate_that_cannot_be_read_is_refused_and_not_a_fault(tmp_path: Path, trusted: bool) -> None:
    authority = LabAuthority(tmp_path / "ours")
    issuer = authority if trusted else LabAuthority(tmp_path / "theirs")
    server = authority.server()
    config = server_config(
        tls=TlsServerContext(
            certificate_chain=server.certificate.read_bytes(),
            private_key=server.key.read_bytes(),
            client_ca=authority.certificate.read_bytes(),
        )
    )
    link = Link(client_config(tls=client_of_version_6(issuer, authority)), config=config)
    link.run(10)
    assert reasons(link) == [CloseReason.CERTIFICATE_REFUSED if trusted else CloseReason.UNKNOWN_CA]


def client_of_version_6(issuer: LabAuthority, servers: LabAuthority) -> TlsClientContext:
    """A client whose certificate OpenSSL takes, and the library that reads names does not."""
    issued = issuer.client("ana")
    signed = x509.load_pem_x509_certificate(issued.certificate.read_bytes()).tbs_certificate_bytes
    version_3 = bytes.fromhex("a003020102")
    assert signed.count(version_3) == 1
    signed = signed.replace(version_3, bytes.fromhex("a003020105"))
    signature = issuer._key.sign(signed, ec.ECDSA(hashes.SHA256()))
    ecdsa_with_sha256 = bytes.fromhex("300a06082a8648ce3d040302")
    certificate = der(0x30, signed + ecdsa_with_sha256 + der(0x03, b"\0" + signature))
    context = TlsClientContext(server_ca=servers.certificate.read_bytes())
    context._context.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, certificate))
    context._context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, issued.key.read_bytes()))
    return context


def der(tag: int, content: bytes) -> bytes:
    """A value in ASN.1's encoding."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content
