"""When the certificates and revocation lists of the endpoints end, and when that is worth a warning.

Values in, values out; the daemon asks from time to time and says what it hears.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policy import EndpointSpec

__all__ = ["Expiry", "ExpiryKind", "Urgency", "expiries"]

WARN_CERTIFICATE = timedelta(days=30)
"""Time enough to have a certificate issued, and to hand out profiles where the authority changes."""
WARN_CRL = timedelta(days=3)
"""Lists are short-lived by design and renewed by themselves; this late, somebody forgot."""

REMEMBERED = 16
"""Files whose ends are known without reading them again: a list may have megabytes, and metrics are asked for often."""

_CRL_END = b"-----END X509 CRL-----"


class Urgency(enum.Enum):
    """How soon somebody must act."""

    NONE = "none"
    """There is time."""
    SOON = "soon"
    """It ends within the warning time."""
    EXPIRED = "expired"
    """It has ended: clients are being refused."""


class ExpiryKind(enum.Enum):
    """What it is that ends."""

    SERVER_CERTIFICATE = "server certificate"
    """The endpoint's own, or an issuer of it that the endpoint sends along."""
    CLIENT_ROOT_CERTIFICATE = "client root certificate"
    """An authority whose clients are let in."""
    REVOCATION_LIST = "revocation list"
    """Without a valid one, no client of its issuer is let in."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """The end of one thing."""

    endpoint: str
    kind: ExpiryKind
    what: str
    """As `server certificate (CN=vpn.example.com)`."""
    ends: datetime
    warn: timedelta

    def urgency(self, now: datetime) -> Urgency:
        """How soon somebody must act."""
        if now >= self.ends:
            return Urgency.EXPIRED
        return Urgency.SOON if self.ends - now <= self.warn else Urgency.NONE


def expiries(spec: EndpointSpec) -> tuple[Expiry, ...]:
    """Everything of an endpoint that ends some day. The PEM in `spec` is known to be good."""
    return tuple(sorted(_expiries(spec), key=lambda expiry: expiry.ends))


def _expiries(spec: EndpointSpec) -> Iterator[Expiry]:
    for kind, pem in (
        (ExpiryKind.SERVER_CERTIFICATE, spec.server_certificate.certificate_chain),
        (ExpiryKind.CLIENT_ROOT_CERTIFICATE, spec.authentication.client_root_certificate_chain),
    ):
        for subject, ends in _certificates(pem):
            yield Expiry(spec.name, kind, f"{kind.value} ({subject})", ends, WARN_CERTIFICATE)
    for issuer, ends in _lists(spec.authentication.certificate_revocation_list or b""):
        what = f"{ExpiryKind.REVOCATION_LIST.value} ({issuer})"
        yield Expiry(spec.name, ExpiryKind.REVOCATION_LIST, what, ends, WARN_CRL)


@lru_cache(maxsize=REMEMBERED)
def _certificates(pem: bytes) -> tuple[tuple[str, datetime], ...]:
    certificates = x509.load_pem_x509_certificates(pem)
    return tuple((one.subject.rfc4514_string(), one.not_valid_after_utc.astimezone(UTC)) for one in certificates)


@lru_cache(maxsize=REMEMBERED)
def _lists(pem: bytes) -> tuple[tuple[str, datetime], ...]:
    blocks = (block[block.index(b"-----BEGIN") :] + _CRL_END for block in pem.split(_CRL_END)[:-1])
    lists = (x509.load_pem_x509_crl(block) for block in blocks)
    return tuple(
        (one.issuer.rfc4514_string(), one.next_update_utc.astimezone(UTC)) for one in lists if one.next_update_utc
    )
