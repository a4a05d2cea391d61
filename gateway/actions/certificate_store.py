"""The certificates that endpoints may use: kept by ARN, and judged for the part that they are to play.

Two parts: a server's certificate, with its key, and the authorities that client certificates chain to. A certificate
comes from a caller who imports it, or from the built-in authority, whose gateway publishes it. Must not know what an
endpoint is, but for the ARNs that it holds.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy import insert, select, update

from gateway.actions.call import ActionError, Call
from gateway.config.certificates import client_root_problems, is_authority, server_certificate_problems
from gateway.config.values import printable
from gateway.store.schema import certificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row

    from gateway.actions.settings import ServiceSettings
    from gateway.store import Vault

__all__ = [
    "authorities_in",
    "certificate_arn",
    "find_client_root",
    "find_server_certificate",
    "publish_certificate",
    "refuse_problems",
    "row_values",
]

_MAX_NAME = 255


def certificate_arn(settings: ServiceSettings, name: uuid.UUID) -> str:
    """The ARN of the certificate with this name."""
    return f"arn:aws:acm:{settings.region}:{settings.account_id}:certificate/{name}"


def publish_certificate(
    connection: Connection,
    vault: Vault,
    settings: ServiceSettings,
    *,
    chain: bytes,
    private_key: bytes | None,
    now: float,
) -> str:
    """Offer a certificate of the built-in authority to callers, and return its ARN.

    `chain` is PEM, the certificate first; `private_key` is PEM, and None for an authority. The ARN follows from the
    whole chain: every node gives it the same, doing this again changes nothing, and what an ARN lets in never changes.
    """
    certificates = x509.load_pem_x509_certificates(chain)
    arn = certificate_arn(settings, _name_of_chain(certificates))
    sealed = vault.seal(private_key) if private_key is not None else None
    known = connection.execute(select(certificate.c.private_key).where(certificate.c.arn == arn)).one_or_none()
    if known is None:
        values = row_values(certificates)
        connection.execute(
            insert(certificate).values(arn=arn, origin="pki", private_key=sealed, created_at=now, **values)
        )
    elif known.private_key is None and sealed is not None:
        connection.execute(update(certificate).where(certificate.c.arn == arn).values(private_key=sealed))
    return arn


def _name_of_chain(certificates: Sequence[x509.Certificate]) -> uuid.UUID:
    """For a single certificate, what begins its SHA-256 fingerprint."""
    digest = hashlib.sha256(b"".join(one.public_bytes(Encoding.DER) for one in certificates)).digest()
    return uuid.UUID(bytes=digest[:16])


def row_values(certificates: Sequence[x509.Certificate]) -> dict[str, Any]:
    """What a row says of certificates, the first of which is the one that it is about."""
    return {
        "name": _name(certificates[0])[:_MAX_NAME],
        "chain": "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates),
        "not_after": certificates[0].not_valid_after_utc.timestamp(),
    }


def _name(own: x509.Certificate) -> str:
    names = own.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return printable(str(names[0].value) if names else own.subject.rfc4514_string())


def authorities_in(chain: str) -> list[x509.Certificate]:
    """The authorities that a row's chain (PEM) names for clients.

    As with AWS, a server's certificate stands for the authorities behind it, where they issue clients as well.
    """
    certificates = x509.load_pem_x509_certificates(chain.encode())
    return certificates if is_authority(certificates[0]) else certificates[1:]


def find_server_certificate(call: Call, arn: str, member: str) -> Row[Any]:
    """The certificate that a call names for a gateway; `member` is where.

    Raises `InvalidParameterValue` for one that is not there or that clients would refuse.
    """
    row = _find(call, arn, member)
    if row.private_key is None:
        raise ActionError("InvalidParameterValue", f"{member}: {arn} is an authority. Name a server's certificate.")
    certificates = x509.load_pem_x509_certificates(row.chain.encode())
    refuse_problems(member, server_certificate_problems(certificates, None, datetime.fromtimestamp(call.now, UTC)))
    return row


def find_client_root(call: Call, arn: str, member: str) -> Row[Any]:
    """The certificate that a call names for the authorities of clients; `member` is where.

    Raises `InvalidParameterValue` for one that is not there or that no client could log in with.
    """
    row = _find(call, arn, member)
    authorities = authorities_in(row.chain)
    if not authorities:
        raise ActionError(
            "InvalidParameterValue",
            f"{member}: {arn} is a server's certificate without its issuers. Import the authority of the clients.",
        )
    refuse_problems(member, client_root_problems(authorities, None, datetime.fromtimestamp(call.now, UTC)))
    return row


def _find(call: Call, arn: str, member: str) -> Row[Any]:
    row = call.connection.execute(select(certificate).where(certificate.c.arn == arn)).one_or_none()
    if row is None:
        raise ActionError(
            "InvalidParameterValue",
            f"{member}: there is no certificate {arn!r}. Import one, or take one of those that ListCertificates shows.",
        )
    return row


def refuse_problems(subject: str, problems: Iterable[str]) -> None:
    """Raise `InvalidParameterValue` if there are problems, each said of `subject`."""
    sentences = [f"{subject} {problem}." for problem in problems]
    if sentences:
        raise ActionError("InvalidParameterValue", " ".join(sentences))
