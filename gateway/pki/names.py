"""What certificates, their groups and their alternative names may be called.

A name becomes a file's name and a certificate's common name, so it must be harmless as both. Raises PkiError only.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from cryptography import x509

from gateway.pki.errors import PkiError

__all__ = ["alternative_name", "check_group", "check_name", "client_alternative_names", "looks_like_host"]

MAX_NAME = 64
"""The most that a common name may have (RFC 5280, ub-common-name), and an organisational unit too."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
_HOST = re.compile(
    r"(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_MAILBOX = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_KEY_SUFFIX = "-tls-crypt-v2"

RESERVED_NAMES = frozenset({"ca", "crl", "index", "revoked", "tls-auth", "tls-crypt", "tls-crypt-v2"})
"""Names whose files are the authority's own."""


def check_name(name: str) -> str:
    """Return a name that may stand in a common name and in a file's name. Raises PkiError for any other."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise PkiError(
            f"{_shown(name)} cannot name a certificate. Use 1 to {MAX_NAME} letters, digits, dots, hyphens, "
            "underscores, @ or +, beginning with a letter or digit."
        )
    if name.lower() in RESERVED_NAMES or name.lower().endswith(_KEY_SUFFIX):
        raise PkiError(f'"{name}" is the name of one of the authority\'s own files. Choose another.')
    return name


def check_group(group: str) -> str:
    """Return a group that may stand as an organisational unit. Raises PkiError for any other."""
    usable = group.isprintable() and group == group.strip() and "," not in group
    if not usable or not 1 <= len(group) <= MAX_NAME:
        raise PkiError(
            f"{_shown(group)} cannot name a group. Use 1 to {MAX_NAME} printable characters without commas or blanks "
            "at either end."
        )
    return group


def alternative_name(text: str) -> x509.GeneralName:
    """Return the subject alternative name for an address or a DNS name. Raises PkiError for anything else."""
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        pass
    if not looks_like_host(text):
        raise PkiError(f'{_shown(text)} is neither a DNS name nor an address. Write it as in "vpn.example.com".')
    return x509.DNSName(text)


def client_alternative_names(name: str) -> tuple[x509.GeneralName, ...]:
    """Return what a client's certificate is also called: its mailbox, where the name is one."""
    return (x509.RFC822Name(name),) if _MAILBOX.fullmatch(name) else ()


def looks_like_host(text: str) -> bool:
    """Whether a text is an address or can be a DNS name."""
    try:
        ip_address(text)
    except ValueError:
        return len(text) <= 253 and _HOST.fullmatch(text) is not None
    return True


def _shown(text: str) -> str:
    shortened = text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}…"
    return ascii(shortened) if not shortened.isprintable() else f'"{shortened}"'
