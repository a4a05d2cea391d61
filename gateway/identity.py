"""From a verified certificate to who the client is: its common name and its groups.

The rule for names is one for all: exactly one common name, of 1 to 64 printable characters (the bound of X.520,
`ub-common-name`), without blanks at either end. Anything else is refused, never repaired: two certificates must not
become one person by having characters taken away.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Identity", "IdentityError", "identify"]

NAME_LENGTH = 64
"""X.520 ub-common-name, and ub-organizational-unit-name."""
GROUPS = 256
"""More than any person has; a certificate with more is a mistake or an attack."""
DOMAIN_LENGTH = 253
"""The longest name in the DNS."""


class IdentityError(Exception):
    """A certificate without a usable name; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is."""

    common_name: str
    groups: tuple[str, ...]
    """Sorted, without repetition."""
    serial_number: int
    """Of the certificate, for the daemon's log."""


def identify(certificate: x509.Certificate, groups_from: str | None) -> Identity:
    """Read name and groups; `groups_from` is `CertificateAuthentication.groups_from`. Raises `IdentityError`."""
    with warnings.catch_warnings():  # cryptography warns of long names; here they are refused
        warnings.simplefilter("ignore")
        try:
            names = [name for name in certificate.subject if name.oid == NameOID.COMMON_NAME]
            groups = _groups(certificate, groups_from)
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise IdentityError(f"the certificate cannot be read: {error}") from error
    if len(names) != 1:
        raise IdentityError(f"the certificate has {len(names) or 'no'} common names; it needs exactly one")
    return Identity(
        common_name=_checked(names[0].value, "common name", NAME_LENGTH),
        groups=tuple(sorted(groups)),
        serial_number=certificate.serial_number,
    )


def _groups(certificate: x509.Certificate, groups_from: str | None) -> set[str]:
    match groups_from:
        case "subject.OU":
            found = _subject(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
        case "subject.O":
            found = _subject(certificate, NameOID.ORGANIZATION_NAME)
        case "san.email-domain":
            found = _email_domains(certificate)
        case _:
            found = []
    groups = {_checked(group, "group", DOMAIN_LENGTH) for group in found}
    if len(groups) > GROUPS:
        raise IdentityError(f"the certificate names {len(groups)} groups; {GROUPS} is the most")
    return groups


def _subject(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> Iterable[str | bytes]:
    return [attribute.value for attribute in certificate.subject if attribute.oid == oid]


def _email_domains(certificate: x509.Certificate) -> Iterable[str]:
    """The part after the @ of each address, in small letters: domains know no difference."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = names.get_values_for_type(x509.RFC822Name)
    return [address.rpartition("@")[2].lower() for address in addresses if "@" in address]


def _checked(value: str | bytes, what: str, longest: int) -> str:
    """Give the value where people can read it and logs can hold it; raise `IdentityError` where not."""
    if not isinstance(value, str):
        raise IdentityError(f"the {what} is not text")
    if not 1 <= len(value) <= longest:
        raise IdentityError(f"the {what} has {len(value)} characters; 1 to {longest} are allowed")
    if not value.isprintable() or value != value.strip():
        raise IdentityError(f"the {what} has control characters, or blanks at its ends")
    return value
