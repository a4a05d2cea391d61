"""Certificates, revocation lists and private keys out of PEM text, whoever sends it.

What cannot be read raises `WrongValue`, to go on where the name of what holds it ends. Whether what was read is any
good, `certificates` says.
"""

from __future__ import annotations

import re
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes  # noqa: TC002 - pydantic reads it
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.config.problems import WrongValue

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["parse_certificates", "parse_crls", "parse_private_key"]

_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)

_OF_CERTIFICATES = attrgetter(
    *("subject", "issuer", "extensions", "signature_hash_algorithm", "not_valid_before_utc", "not_valid_after_utc")
)
_OF_CRLS = attrgetter("issuer", "extensions", "signature_hash_algorithm", "last_update_utc", "next_update_utc")
_PUBLIC_KEY = methodcaller("public_key")
"""What cryptography reads only when it is asked for."""


def parse_certificates(octets: bytes) -> tuple[x509.Certificate, ...]:
    """All certificates, in their order; at least one. Raises WrongValue."""
    try:
        certificates = tuple(x509.load_pem_x509_certificates(octets))
    except ValueError:
        raise WrongValue("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
    for certificate in certificates:
        if not _can_be_read(certificate, _OF_CERTIFICATES) or not _can_be_read(certificate, _PUBLIC_KEY):
            raise WrongValue("holds a certificate that is damaged, or of a kind unknown here; have it issued anew")
    return certificates


def parse_crls(octets: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """All revocation lists; at least one. Raises WrongValue."""
    blocks = _CRL_BLOCK.findall(octets)
    if not blocks:
        raise WrongValue("holds no revocation list in PEM form (-----BEGIN X509 CRL-----)")
    try:
        lists = tuple(x509.load_pem_x509_crl(block) for block in blocks)
    except ValueError:
        lists = ()
    if not lists or not all(_can_be_read(one, _OF_CRLS) for one in lists):
        raise WrongValue("holds a revocation list that is damaged; renew it")
    return lists


def parse_private_key(octets: bytes) -> PrivateKeyTypes:
    """The private key, which must not be encrypted. Raises WrongValue."""
    try:
        return load_pem_private_key(octets, password=None)
    except TypeError:
        raise WrongValue(
            "is encrypted, and nobody is there to type the passphrase; store it without one, readable only by its owner"
        ) from None
    except Exception:  # noqa: BLE001 - cryptography names half a dozen kinds of unusable key
        raise WrongValue("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)") from None


def _can_be_read(parsed: x509.Certificate | x509.CertificateRevocationList, read: Callable[[object], object]) -> bool:
    try:
        read(parsed)
    except Exception:  # noqa: BLE001 - cryptography names half a dozen ways to be wrong
        return False
    return True
