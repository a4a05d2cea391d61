"""Making keys, certificates and revocation lists: X.509 as RFC 5280 and stock OpenVPN clients want it.

Pure but for the random numbers of keys and serial numbers. Must not know files or names' rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "AuthorityKey",
    "KeyType",
    "NewCertificate",
    "PrivateKey",
    "Subject",
    "build_certificate_pem",
    "build_private_key_pem",
    "generate_private_key",
    "issue_client_certificate",
    "issue_root",
    "issue_server_certificate",
    "sign_crl",
]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_BACKDATED = timedelta(hours=1)
"""How far certificates begin in the past, for the sake of clients whose clocks are slow."""


class KeyType(Enum):
    """The kinds of keys that every OpenVPN client from 2.4 on can use; the value is the option on the command line."""

    ECDSA_P256 = "ecdsa-p256"
    """Fast, small, known everywhere."""
    RSA_2048 = "rsa-2048"
    """For devices and AWS-compatible tools that know nothing else."""
    ED25519 = "ed25519"
    """Needs OpenSSL 1.1.1 on every client."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate is for."""

    common_name: str
    groups: tuple[str, ...] = ()
    alternative_names: tuple[x509.GeneralName, ...] = ()

    def name(self) -> x509.Name:
        """The distinguished name: each group an organisational unit, then the common name."""
        units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, group) for group in self.groups]
        return x509.Name([*units, x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])


@dataclass(frozen=True, slots=True)
class AuthorityKey:
    """What signs: an authority's certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """A certificate that was just made, and its key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)


def generate_private_key(key_type: KeyType) -> PrivateKey:
    """Make a new key."""
    match key_type:
        case KeyType.ECDSA_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.RSA_2048:
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case KeyType.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            assert_never(key_type)


def issue_root(common_name: str, key_type: KeyType, *, now: datetime, not_after: datetime) -> AuthorityKey:
    """Make a self-signed authority that may issue end certificates, and no further authorities."""
    key = generate_private_key(key_type)
    name = Subject(common_name).name()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(name, name, key, now, not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return AuthorityKey(builder.sign(key, _digest_for(key)), key)


def issue_server_certificate(
    authority: AuthorityKey, subject: Subject, key_type: KeyType, *, now: datetime, not_after: datetime
) -> NewCertificate:
    """Make what a gateway proves itself with: extended key usage serverAuth."""
    return _issue(authority, subject, key_type, ExtendedKeyUsageOID.SERVER_AUTH, (now, not_after))


def issue_client_certificate(
    authority: AuthorityKey, subject: Subject, key_type: KeyType, *, now: datetime, not_after: datetime
) -> NewCertificate:
    """Make what a client logs in with: extended key usage clientAuth."""
    return _issue(authority, subject, key_type, ExtendedKeyUsageOID.CLIENT_AUTH, (now, not_after))


def sign_crl(
    authority: AuthorityKey,
    revoked: Iterable[tuple[int, datetime]],
    *,
    number: int,
    now: datetime,
    next_update: datetime,
) -> bytes:
    """Make the list of revoked certificates, given by serial number and time, in PEM."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - _BACKDATED)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_identifier(authority), critical=False)
    )
    for serial, moment in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(authority.key, _digest_for(authority.key)).public_bytes(Encoding.PEM)


def build_certificate_pem(certificate: x509.Certificate) -> bytes:
    """Build the text of a certificate file."""
    return certificate.public_bytes(Encoding.PEM)


def build_private_key_pem(key: PrivateKey) -> bytes:
    """Build the text of a key file: PKCS 8, not encrypted, for programs start unattended."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _issue(
    authority: AuthorityKey,
    subject: Subject,
    key_type: KeyType,
    usage: x509.ObjectIdentifier,
    life: tuple[datetime, datetime],
) -> NewCertificate:
    key = generate_private_key(key_type)
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPrivateKey)), True),
        (x509.ExtendedKeyUsage([usage]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (_authority_identifier(authority), False),
    )
    builder = _builder(subject.name(), authority.certificate.subject, key, *life)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    if subject.alternative_names:
        builder = builder.add_extension(x509.SubjectAlternativeName(subject.alternative_names), critical=False)
    return NewCertificate(builder.sign(authority.key, _digest_for(authority.key)), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(not_after)
    )


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_encipherment=key_encipherment,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(authority: AuthorityKey) -> x509.AuthorityKeyIdentifier:
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _digest_for(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
