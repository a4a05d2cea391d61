"""A certificate that a service of this host has for itself, in a directory of its own, and renewed in time.

    server.crt      the certificate, followed by its issuer's
    server.key

The authority issues it. Where there is none, one is made for this certificate alone, and its key forgotten: callers
then trust `server.crt` instead of `ca.crt`. Must not know what is served. All methods raise PkiError.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from gateway.pki import issuing
from gateway.pki.authority import Authority, utc_now
from gateway.pki.directory import Directory
from gateway.pki.issuing import KeyType, NewCertificate, Subject
from gateway.pki.names import alternative_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

__all__ = ["ServiceCertificate"]

DAYS = 90
RENEW_BEFORE = timedelta(days=30)

_CERTIFICATE = "server.crt"
_KEY = "server.key"


class ServiceCertificate:
    """The certificate of one service."""

    def __init__(self, directory: Path, pki_dir: Path, name: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        """Nothing is touched yet; there need not be an authority in `pki_dir`."""
        self._directory = Directory(directory)
        self._authority = Authority(pki_dir, clock=clock)
        self._name = name
        self._clock = clock

    @property
    def certificate_file(self) -> Path:
        """Where the certificate is."""
        return self._directory.file(_CERTIFICATE)

    @property
    def key_file(self) -> Path:
        """Where its key is."""
        return self._directory.file(_KEY)

    def ensure(self, alternative_names: Sequence[str]) -> bool:
        """Make it or make it anew where that is due; True if it was.

        Due it is when there is none, when it ends within 30 days, and when names or the authority have changed.
        """
        self._directory.create()
        with self._directory.locked():
            if not self._is_due(alternative_names):
                return False
            new, issuer = self._issue(alternative_names)
            chain = issuing.build_certificate_pem(new.certificate) + issuer
            self._directory.replace(_KEY, issuing.build_private_key_pem(new.key))
            self._directory.replace(_CERTIFICATE, chain)
            return True

    def _issue(self, alternative_names: Sequence[str]) -> tuple[NewCertificate, bytes]:
        if self._authority.exists():
            return self._authority.issue_service(self._name, alternative_names, DAYS)
        now = self._clock()
        life = {"now": now, "not_after": now + timedelta(days=DAYS)}
        root = issuing.issue_root(f"{self._name} of this host", KeyType.ECDSA_P256, **life)
        subject = Subject(self._name, (), tuple(alternative_name(text) for text in alternative_names))
        new = issuing.issue_server_certificate(root, subject, KeyType.ECDSA_P256, **life)
        return new, issuing.build_certificate_pem(root.certificate)

    def _is_due(self, alternative_names: Sequence[str]) -> bool:
        if not (self._directory.exists(_CERTIFICATE) and self._directory.exists(_KEY)):
            return True
        try:
            certificate, issuer = x509.load_pem_x509_certificates(self._directory.read(_CERTIFICATE))
            named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            if self._authority.exists():
                issuer = x509.load_pem_x509_certificate(self._authority.certificate())
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return True
        ends_soon = certificate.not_valid_after_utc - self._clock() < RENEW_BEFORE
        return ends_soon or set(named) != {alternative_name(text) for text in alternative_names}
