"""Certificates that no sane authority would issue, for tests of who refuses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Made:
    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Recipe:
    """What a certificate has; the default is a good server certificate."""

    name: str = "server"
    issuer: Made | None = None
    begins: datetime = NOW - YEAR
    ends: datetime = NOW + YEAR
    is_ca: bool = False
    usages: tuple[x509.ObjectIdentifier, ...] | None = (ExtendedKeyUsageOID.SERVER_AUTH,)
    has_key_usage: bool = True
    digital_signature: bool = True
    key: Key = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def make(self) -> Made:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        issuer = self.issuer.certificate.subject if self.issuer else subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.begins)
            .not_valid_after(self.ends)
            .add_extension(x509.BasicConstraints(ca=self.is_ca, path_length=None), critical=True)
        )
        if self.has_key_usage:
            builder = builder.add_extension(self._key_usage(), critical=True)
        if self.usages is not None and not self.is_ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.usages), critical=False)
        return Made(builder.sign(self.issuer.key if self.issuer else self.key, hashes.SHA256()), self.key)

    def _key_usage(self) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=self.digital_signature and not self.is_ca,
            key_encipherment=not self.is_ca,
            key_cert_sign=self.is_ca,
            crl_sign=self.is_ca,
            content_commitment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )


def make_ca(name: str = "root", **changes: object) -> Made:
    return Recipe(name=name, is_ca=True, **changes).make()  # type: ignore[arg-type]  # a recipe's own fields


def make_crl(
    ca: Made, *, begins: datetime = NOW - YEAR, ends: datetime = NOW + YEAR, key: Key | None = None
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(begins)
        .next_update(ends)
    )
    return builder.sign(key or ca.key, hashes.SHA256())
