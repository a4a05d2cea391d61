"""Each way in which a client's certificate can fail gives its own reason code."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import gc
import itertools
import weakref
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tunnel.errors import HandshakeError, TlsConfigError
from tunnel.events import CloseReason
from tunnel.tls import TlsClientContext, TlsServerContext, TlsSession

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
SERIALS = itertools.count(1)


@dataclass(frozen=True)
class Issued:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def issue(
    name: str,
    issuer: Issued | None = None,
    *,
    authority: bool = False,
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    begins: dt.timedelta = -DAY,
    ends: dt.timedelta = DAY,
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(next(SERIALS))
        .not_valid_before(NOW + begins)
        .not_valid_after(NOW + ends)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if usage is not None and not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Issued(builder.sign((issuer.key if issuer else key), hashes.SHA256()), key)


def revocations(issuer: Issued, *revoked: Issued, ends: dt.timedelta = DAY) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    builder = builder.last_update(NOW - 2 * DAY).next_update(NOW + ends)
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - DAY).build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


CA = issue("ca", authority=True)
OTHER_CA = issue("other", authority=True)
NAMESAKE_CA = issue("ca", authority=True)
MIDDLE = issue("middle", CA, authority=True)
SERVER = issue("server", CA, usage=ExtendedKeyUsageOID.SERVER_AUTH)
CLIENT = issue("ana", CA)


def server(ca: bytes = CA.pem, crl: bytes | None = None, minimum_version: str = "1.2") -> TlsSession:
    return TlsServerContext(
        certificate_chain=SERVER.pem,
        private_key=SERVER.key_pem,
        client_ca=ca,
        crl=crl,
        minimum_version=minimum_version,
    ).new_session()


def client(issued: Issued | None = CLIENT, chain: bytes = b"", maximum_version: str = "1.3") -> TlsSession:
    return TlsClientContext(
        server_ca=CA.pem,
        certificate_chain=issued.pem + chain if issued else None,
        private_key=issued.key_pem if issued else None,
        maximum_version=maximum_version,
    ).new_session()


def shake_hands(server: TlsSession, client: TlsSession) -> None:
    client.start()
    for _ in range(10):
        server.receive(client.ciphertext())
        client.receive(server.ciphertext())


def failure(server: TlsSession, client: TlsSession) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        shake_hands(server, client)
    return caught.value


def exchanged(sender: TlsSession, receiver: TlsSession) -> list[bytes]:
    """What the receiver reads of what the sender has written."""
    receiver.receive(sender.ciphertext())
    return list(iter(receiver.read, b""))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_good_client_is_let_in_and_both_sides_export_the_same(version: str) -> None:
    one, other = server(crl=revocations(CA)), client(maximum_version=version)
    shake_hands(one, other)
    assert one.handshake_complete
    assert one.version == f"TLSv{version}"
    assert one.peer_certificate() == CLIENT.certificate
    assert one.export(b"EXPORTER-test", 256) == other.export(b"EXPORTER-test", 256)
    one.write(b"hello\x00")
    one.write(b"again\x00")
    other.receive(one.ciphertext())
    assert (other.read(), other.read(), other.read()) == (b"hello\x00", b"again\x00", b"")


@pytest.mark.parametrize(
    ("issued", "reason"),
    [
        (issue("old", CA, begins=-2 * DAY, ends=-DAY), CloseReason.CERTIFICATE_EXPIRED),
        (issue("new", CA, begins=DAY, ends=2 * DAY), CloseReason.CERTIFICATE_NOT_YET_VALID),
        (issue("server", CA, usage=ExtendedKeyUsageOID.SERVER_AUTH), CloseReason.CERTIFICATE_WRONG_USAGE),
        (issue("foreign", OTHER_CA), CloseReason.UNKNOWN_CA),
        (issue("forged", NAMESAKE_CA), CloseReason.UNKNOWN_CA),
        (issue("self"), CloseReason.UNKNOWN_CA),
        (None, CloseReason.NO_CERTIFICATE),
    ],
    ids=["expired", "not yet valid", "wrong usage", "foreign", "forged", "self-signed", "none"],
)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_bad_client_is_refused_for_its_own_reason(issued: Issued | None, reason: CloseReason, version: str) -> None:
    side = server()
    assert failure(side, client(issued, maximum_version=version)).reason is reason
    assert side.ciphertext(), "an alert waits for the client"


def test_a_revoked_client_is_refused() -> None:
    assert failure(server(crl=revocations(CA, CLIENT)), client()).reason is CloseReason.CERTIFICATE_REVOKED


def test_an_expired_list_or_another_authoritys_list_lets_nobody_in() -> None:
    expired = failure(server(crl=revocations(CA, ends=-DAY)), client())
    assert expired.reason is CloseReason.CRL_UNUSABLE
    assert "renew" in expired.text
    assert failure(server(crl=revocations(OTHER_CA)), client()).reason is CloseReason.CRL_UNUSABLE


def test_a_chain_through_an_intermediate_needs_the_list_of_the_clients_issuer_only() -> None:
    leaf = issue("leaf", MIDDLE)
    side = server(crl=revocations(MIDDLE))
    shake_hands(side, client(leaf, chain=MIDDLE.pem))
    assert [certificate.to_cryptography().subject for certificate in side.peer_chain()][:2] == [
        leaf.certificate.subject,
        MIDDLE.certificate.subject,
    ]
    revoked = failure(server(crl=revocations(MIDDLE, leaf)), client(leaf, chain=MIDDLE.pem))
    assert revoked.reason is CloseReason.CERTIFICATE_REVOKED


def shown_chain(client: TlsSession) -> list[x509.Certificate]:
    return client._connection.get_peer_cert_chain(as_cryptography=True) or []


def test_clients_are_shown_what_they_cannot_have_and_not_the_root() -> None:
    middle = issue("middle", CA, authority=True)
    host = issue("server", middle, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    whole, trusted = host.pem + middle.pem, middle.pem + CA.pem
    for chain, authorities in ((whole, CA.pem), (host.pem, trusted), (whole, trusted)):
        context = TlsServerContext(certificate_chain=chain, private_key=host.key_pem, client_ca=authorities)
        peer = client()
        shake_hands(context.new_session(), peer)
        assert shown_chain(peer) == [host.certificate, middle.certificate]


def test_a_certificate_of_somebody_elses_authority_goes_alone() -> None:
    peer = client()
    host = issue("server", OTHER_CA, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    context = TlsServerContext(certificate_chain=host.pem, private_key=host.key_pem, client_ca=CA.pem)
    with pytest.raises(HandshakeError):
        shake_hands(context.new_session(), peer)
    assert shown_chain(peer) == [host.certificate]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_gateway_chooses_the_cipher(version: str) -> None:
    host, peer = server(), client(maximum_version=version)
    shake_hands(host, peer)
    expected = {"1.2": "ECDHE-ECDSA-AES256-GCM-SHA384", "1.3": "TLS_CHACHA20_POLY1305_SHA256"}
    assert peer._connection.get_cipher_name() == expected[version]


def test_all_that_waits_comes_out_at_once_however_much_it_is() -> None:
    one, other = server(), client()
    shake_hands(one, other)
    messages = [bytes([number]) * 16000 for number in range(1, 5)]
    for message in messages:
        one.write(message)
    assert exchanged(one, other) == messages
    assert one.ciphertext() == b""


def test_both_sides_hear_of_each_other_again_after_there_was_nothing_to_hear() -> None:
    one, other = server(), client()
    shake_hands(one, other)
    for _ in range(3):
        assert exchanged(one, other) == []
        other.write(b"ping")
        assert exchanged(other, one) == [b"ping"]
        one.write(b"pong")
        assert exchanged(one, other) == [b"pong"]


@pytest.mark.parametrize("issued", [CLIENT, issue("self", usage=None)], ids=["let in", "refused"])
def test_a_session_that_is_let_go_leaves_nothing_to_the_cycle_collector(issued: Issued) -> None:
    one, other = server(), client(issued)
    with contextlib.suppress(HandshakeError):
        shake_hands(one, other)
    openssl = weakref.ref(one._connection)
    gc.disable()
    try:
        del one
        assert openssl() is None
    finally:
        gc.enable()


def test_no_common_version_has_a_reason_of_its_own() -> None:
    refused = failure(server(minimum_version="1.3"), client(maximum_version="1.2"))
    assert refused.reason is CloseReason.NO_COMMON_TLS


def of_unknown_type(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key whose algorithm has a number that nobody has given to any."""
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    known, unknown = bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f")
    return b"-----BEGIN PRIVATE KEY-----\n%b-----END PRIVATE KEY-----\n" % base64.encodebytes(
        der.replace(known, unknown)
    )


def of_unknown_version(certificate: x509.Certificate) -> bytes:
    der = certificate.public_bytes(serialization.Encoding.DER)
    known, unknown = bytes.fromhex("a003020102"), bytes.fromhex("a003020101")
    assert known in der
    encoded = base64.encodebytes(der.replace(known, unknown, 1))
    return b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % encoded


@pytest.mark.parametrize(
    "changes",
    [
        {"certificate_chain": b"nonsense"},
        {"certificate_chain": of_unknown_version(SERVER.certificate)},
        {"client_ca": of_unknown_version(CA.certificate)},
        {"private_key": b"nonsense"},
        {"private_key": CLIENT.key_pem},
        {"private_key": of_unknown_type(SERVER.key)},
        {"client_ca": b"nonsense"},
        {"crl": b"nonsense"},
        {"crl": b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"},
    ],
    ids=[
        "certificate",
        "certificate of unknown version",
        "ca of unknown version",
        "key",
        "another key",
        "key of unknown type",
        "ca",
        "no crl",
        "broken crl",
    ],
)
def test_material_that_openssl_refuses_is_a_config_error(changes: dict[str, bytes]) -> None:
    material = {"certificate_chain": SERVER.pem, "private_key": SERVER.key_pem, "client_ca": CA.pem, "crl": None}
    with pytest.raises(TlsConfigError):
        TlsServerContext(**(material | changes))  # type: ignore[arg-type]  # a mix of bytes and None
