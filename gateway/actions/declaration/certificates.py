"""Certificates that a declaration names: by ARN, by the name that the store knows them by, or in PEM.

What comes in PEM is imported, unless the very same is there already. Must not know endpoints.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from gateway.actions.certificate_store import row_values
from gateway.actions.certificates import import_certificate
from gateway.actions.declaration.changes import Change, Kind, refuse
from gateway.config.declaration import PEM_BEGIN
from gateway.config.pem import parse_certificates, parse_crls
from gateway.config.problems import WrongValue
from gateway.store.schema import certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography.x509 import Certificate, CertificateRevocationList

    from gateway.actions.declaration.changes import Work

__all__ = ["certificate_label", "crl_label", "find_certificate", "normal_crl"]

Part = Literal["server", "authority"]
"""What a certificate is for."""


def find_certificate(
    work: Work, kind: Part, named: str, key_path: str, *, private_key: str = "", held: str = ""
) -> str:
    """The ARN of a certificate; one in PEM is imported. `held` is preferred among equal ones. Raises `ActionError`."""
    if not named.startswith(PEM_BEGIN):
        return named if named.startswith("arn:") else _by_name(work, kind, named, key_path)
    values = row_values(_parsed(parse_certificates, named, key_path))
    same = _of_kind(work, kind, certificate.c.chain == values["chain"])
    if same:
        return held if held in same else same[0]
    key = {"PrivateKey": private_key} if private_key else {}
    with work.change(Change(Kind.CREATE, f'certificate "{values["name"]}"', key_path)):
        return str(work.run(import_certificate, Certificate=named, **key)["CertificateArn"])


def _by_name(work: Work, kind: Part, name: str, key_path: str) -> str:
    """Of several with one name, the one that is good for longest: what has been renewed."""
    found = _of_kind(work, kind, certificate.c.name == name)
    if not found:
        names = sorted(set(_of_kind(work, kind, column=certificate.c.name)))
        known = ", ".join(f'"{other}"' for other in names) or "none"
        raise refuse(key_path, f'No certificate of the kind {kind} is called "{name}". There are: {known}.')
    return found[0]


def _of_kind(work: Work, kind: Part, *where: Any, column: Any = certificate.c.arn) -> list[str]:
    is_authority = certificate.c.private_key.is_(None)
    of_kind = is_authority if kind == "authority" else ~is_authority
    order = (certificate.c.not_after.desc(), certificate.c.created_at.desc(), certificate.c.arn)
    return list(work.call.connection.scalars(select(column).where(of_kind, *where).order_by(*order)))


def certificate_label(work: Work, arn_or_pem: str, key_path: str) -> str:
    """How a plan shows a certificate: the same before it is imported and after."""
    if arn_or_pem.startswith(PEM_BEGIN):
        chain = arn_or_pem
    else:
        query = select(certificate.c.chain).where(certificate.c.arn == arn_or_pem)
        chain = work.call.connection.scalar(query) or ""
    if not chain:
        return arn_or_pem
    certificates = _parsed(parse_certificates, chain, key_path)
    name, last_day = row_values(certificates)["name"], certificates[0].not_valid_after_utc
    return f"{name}, until {last_day:%Y-%m-%d} (SHA-256 {_digest(certificates)})"


def crl_label(pem: str, key_path: str) -> str:
    """How a plan shows revocation lists."""
    lists = _parsed(parse_crls, pem, key_path)
    what = "; ".join(f"{len(one)} revoked as of {one.last_update_utc:%Y-%m-%d %H:%M}" for one in lists)
    return f"{what} (SHA-256 {_digest(lists)})"


def normal_crl(pem: str, key_path: str) -> tuple[bytes, ...]:
    """What two texts have in common that are the same lists. Raises `ActionError`."""
    return tuple(one.fingerprint(hashes.SHA256()) for one in _parsed(parse_crls, pem, key_path))


def _digest(parts: Iterable[Certificate | CertificateRevocationList]) -> str:
    """Enough of a digest to tell things apart, for people."""
    octets = b"".join(part.public_bytes(Encoding.DER) for part in parts)
    return hashlib.sha256(octets).hexdigest()[:16]


def _parsed(parse: Callable[[bytes], Any], pem: str, key_path: str) -> Any:
    try:
        return parse(pem.encode())
    except WrongValue as wrong:
        raise refuse(key_path, f"It {' and '.join(wrong.sentences)}.") from None
