"""The list of what an authority has issued, as a JSON file that people can read.

Owns the file's format. A certificate is listed before its files are written, so that whatever exists can be revoked.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.pki.errors import PkiError

__all__ = ["Index", "IssuedCertificate", "Role", "build_index", "parse_index"]


class Role(Enum):
    """What a certificate is for."""

    SERVER = "server"
    """A gateway proves itself with it."""
    CLIENT = "client"
    """A person or device logs in with it."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IssuedCertificate(_Record):
    """One certificate that the authority has issued."""

    name: str
    role: Role
    serial: str
    """In hexadecimal, as OpenSSL prints it."""
    groups: tuple[str, ...] = ()
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """What the certificate is good for at this time."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.not_after <= now else "valid"


class Index(_Record):
    """Everything that an authority remembers."""

    version: Literal[1] = 1
    crl_number: int = 0
    """Of the last revocation list that was signed."""
    certificates: tuple[IssuedCertificate, ...] = ()

    def current(self, name: str) -> IssuedCertificate | None:
        """Return the certificate of this name that is not revoked."""
        alive = (issued for issued in self.certificates if issued.name == name and issued.revoked_at is None)
        return next(alive, None)

    def with_certificate(self, issued: IssuedCertificate) -> Index:
        """Return the index with one more certificate."""
        return self.model_copy(update={"certificates": (*self.certificates, issued)})

    def with_revocation(self, serial: str, moment: datetime) -> Index:
        """Return the index with the certificate of this serial number revoked."""
        certificates = tuple(
            issued.model_copy(update={"revoked_at": moment}) if issued.serial == serial else issued
            for issued in self.certificates
        )
        return self.model_copy(update={"certificates": certificates})

    def with_next_crl_number(self) -> Index:
        """Return the index for the next revocation list."""
        return self.model_copy(update={"crl_number": self.crl_number + 1})


def parse_index(octets: bytes) -> Index:
    """Parse the file. Raises PkiError if it is damaged."""
    try:
        return Index.model_validate_json(octets)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in detail["loc"]) or "the file"
        raise PkiError(
            f"The index of certificates is damaged at {place}: {detail['msg']}. Restore index.json from a backup: "
            "without it, revocations would be forgotten."
        ) from None


def build_index(index: Index) -> bytes:
    """Build the file; the inverse of `parse_index`."""
    return index.model_dump_json(indent=2).encode() + b"\n"
