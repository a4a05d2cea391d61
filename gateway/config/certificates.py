"""What is wrong with certificates, keys and revocation lists, before a client has to find out.

Pure: parsed objects and the time go in, sentences come out; each goes on where the name of a key in the configuration
ends. The rules are those of stock OpenVPN clients and of OpenSSL at its default security level.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

__all__ = [
    "certificate_name",
    "client_root_problems",
    "coverage_problems",
    "crl_problems",
    "is_authority",
    "is_issued_by",
    "server_certificate_problems",
]

MIN_RSA_BITS = 2048
"""OpenSSL refuses less at the security level that distributions choose, and so do OpenVPN clients."""

_MIN_EC_BITS = 256
_WEAK_HASHES = (hashes.SHA1, hashes.MD5)


def server_certificate_problems(
    chain: Sequence[x509.Certificate], key: PrivateKeyTypes | None, now: datetime
) -> Iterator[str]:
    """Yield what would make a client refuse the gateway.

    `chain` is the file's content in its order, not empty; `key` is None where it could not be read.
    """
    own = chain[0]
    if is_authority(own):
        yield (
            f"begins with an authority, {certificate_name(own)}; the gateway's own certificate must come first, "
            "then each certificate's issuer"
        )
    else:
        yield from _server_usage_problems(own)
    if key is not None and _public_octets(key.public_key()) != _public_octets(own.public_key()):
        yield (
            f"names {certificate_name(own)}, which does not belong to the key in server_key; "
            "name the key that this certificate was made for"
        )
    for certificate in chain:
        yield from _validity_problems(certificate, now)
        yield from _strength_problems(certificate)
    for certificate, issuer in pairwise(chain):
        if not is_issued_by(certificate, issuer):
            yield (
                f"has its chain out of order: {certificate_name(certificate)} is followed by "
                f"{certificate_name(issuer)}, which did not issue it"
            )


def client_root_problems(
    authorities: Sequence[x509.Certificate], lists: Sequence[x509.CertificateRevocationList] | None, now: datetime
) -> Iterator[str]:
    """Yield what would make clients' certificates fail to verify; `lists` is None where nothing can be revoked."""
    for authority in authorities:
        if not is_authority(authority):
            yield f"holds {certificate_name(authority)}, which is no authority and cannot issue client certificates"
        yield from _validity_problems(authority, now)
        yield from _strength_problems(authority)
        if not any(is_issued_by(authority, other) for other in authorities):
            yield (
                f"lacks the issuer of {certificate_name(authority)}; add the certificates up to the self-signed root"
            )
    if lists is not None:
        yield from coverage_problems(authorities, lists)


def crl_problems(lists: Sequence[x509.CertificateRevocationList], now: datetime) -> Iterator[str]:
    """Yield what makes the lists unusable at this time: OpenSSL then lets nobody in."""
    for crl in lists:
        name = crl.issuer.rfc4514_string()
        if crl.next_update_utc is None:
            yield f"holds a list of {name} that does not say when the next is due; make one with a nextUpdate"
        elif crl.next_update_utc <= now:
            yield (
                f"holds a list of {name} that was due for renewal on {_day(crl.next_update_utc)}, so every login would "
                "fail; renew it (`portway pki list` renews that of its own authority)"
            )
        if crl.last_update_utc > now:
            yield f"holds a list of {name} that begins only on {_day(crl.last_update_utc)}; check this host's clock"


def coverage_problems(
    authorities: Sequence[x509.Certificate], lists: Sequence[x509.CertificateRevocationList]
) -> Iterator[str]:
    """Yield which lists no authority signed, and which authorities have no list: OpenSSL wants one of each."""
    for crl in lists:
        if not any(_signed_list(authority, crl) for authority in authorities):
            yield (
                f"holds no authority that signed the list of {crl.issuer.rfc4514_string()} in "
                "certificate_revocation_list; name the lists of these authorities"
            )
    for authority in authorities:
        issues_authorities = any(other is not authority and is_issued_by(other, authority) for other in authorities)
        if not issues_authorities and not any(crl.issuer == authority.subject for crl in lists):
            yield (
                f"holds {certificate_name(authority)}, which has no list in certificate_revocation_list, "
                "so all of its clients would be refused; add its list"
            )


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may sign others."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` signed `certificate`."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def certificate_name(certificate: x509.Certificate) -> str:
    """Name a certificate in a sentence: its common name, or else its whole subject."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(names[0].value) if names else certificate.subject.rfc4514_string()
    return repr(text)


def _server_usage_problems(certificate: x509.Certificate) -> Iterator[str]:
    name = certificate_name(certificate)
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    if ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        yield f"names {name}, which lacks the extended key usage serverAuth; clients refuse it, so have it issued anew"
    try:
        key_usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        yield f"names {name}, which lacks a key usage; clients refuse it, so have it issued anew"
        return
    if not key_usage.digital_signature:
        yield f"names {name}, whose key usage lacks digitalSignature, which TLS needs; have it issued anew"


def _validity_problems(certificate: x509.Certificate, now: datetime) -> Iterator[str]:
    name = certificate_name(certificate)
    if certificate.not_valid_after_utc <= now:
        yield f"names {name}, which expired on {_day(certificate.not_valid_after_utc)}; have it issued anew"
    if certificate.not_valid_before_utc > now:
        yield (
            f"names {name}, which is not valid before {_day(certificate.not_valid_before_utc)}; "
            "check this host's clock, or wait"
        )


def _strength_problems(certificate: x509.Certificate) -> Iterator[str]:
    name = certificate_name(certificate)
    try:
        key = certificate.public_key()
    except ValueError:
        yield f"names {name}, whose key is of a kind that TLS here does not know; use ECDSA, RSA or Ed25519"
        return
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        yield (
            f"names {name}, whose RSA key of {key.key_size} bits is too weak for clients; "
            f"{MIN_RSA_BITS} is the least, ECDSA P-256 is better"
        )
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < _MIN_EC_BITS:
        yield f"names {name}, whose curve {key.curve.name} is too weak for clients; use P-256"
    elif isinstance(key, dsa.DSAPublicKey):
        yield f"names {name}, whose key is DSA, which TLS no longer knows; use ECDSA P-256"
    elif not isinstance(
        key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
    ):
        yield f"names {name}, whose key cannot sign; use ECDSA P-256"
    if isinstance(certificate.signature_hash_algorithm, _WEAK_HASHES) and not _is_self_signed(certificate):
        algorithm = certificate.signature_hash_algorithm.name.upper()
        yield f"names {name}, which is signed with {algorithm}; clients refuse that, so have it issued with SHA-256"


def _is_self_signed(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _signed_list(authority: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return crl.issuer == authority.subject and crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # a TypeError says so
    except (TypeError, ValueError):
        return False


def _public_octets(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
