"""Certificates, revocation lists and private keys out of PEM text, whoever sends it.

What cannot be read raises `WrongValue`, to go on where the name of what holds it ends. Whether what was read is any
good, `certificates` says.
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes  # noqa: TC002 - pydantic reads it
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.config.problems import WrongValue

__all__ = ["parse_certificates", "parse_crls", "parse_private_key"]

_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


def parse_certificates(octets: bytes) -> tuple[x509.Certificate, ...]:
    """All certificates, in their order; at least one. Raises WrongValue."""
    try:
        return tuple(x509.load_pem_x509_certificates(octets))
    except ValueError:
        raise WrongValue("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None


def parse_crls(octets: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """All revocation lists; at least one. Raises WrongValue."""
    blocks = _CRL_BLOCK.findall(octets)
    try:
        lists = tuple(x509.load_pem_x509_crl(block) for block in blocks)
    except ValueError:
        raise WrongValue("holds a revocation list that is damaged; renew it") from None
    if not lists:
        raise WrongValue("holds no revocation list in PEM form (-----BEGIN X509 CRL-----)")
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
