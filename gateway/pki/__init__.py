"""A small certificate authority, for those who have none: certificates, revocation and control-channel keys.

Owns the directory of `portway pki`. Must not know endpoints or running sessions.
"""

from __future__ import annotations

from gateway.pki.authority import Authority, ClientFiles
from gateway.pki.errors import PkiError
from gateway.pki.index import IssuedCertificate, Role
from gateway.pki.issuing import KeyType
from gateway.pki.names import looks_like_host
from gateway.pki.service_certificate import ServiceCertificate

__all__ = [
    "Authority",
    "ClientFiles",
    "IssuedCertificate",
    "KeyType",
    "PkiError",
    "Role",
    "ServiceCertificate",
    "looks_like_host",
]
