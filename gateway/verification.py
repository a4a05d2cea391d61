"""Looks again at the certificates of who is connected, when authorities or revocations have changed.

TLS verifies a certificate when a connection begins and at each renegotiation; a revocation must not wait for that.
OpenSSL decides, as it does there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from OpenSSL import crypto

from tunnel import CloseReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policy import CertificateAuthentication

__all__ = ["Reverifier"]

_CRL_END = b"-----END X509 CRL-----"

_NO_CRL = 3
"""X509_V_ERR_UNABLE_TO_GET_CRL."""

_REASONS = {
    _NO_CRL: CloseReason.CRL_UNUSABLE,
    8: CloseReason.CRL_UNUSABLE,
    9: CloseReason.CERTIFICATE_NOT_YET_VALID,
    10: CloseReason.CERTIFICATE_EXPIRED,
    11: CloseReason.CRL_UNUSABLE,
    12: CloseReason.CRL_UNUSABLE,
    23: CloseReason.CERTIFICATE_REVOKED,
}
"""OpenSSL's X509_V_ERR numbers; any other means that the chain ends nowhere."""


class Reverifier:
    """Judges certificate chains by an endpoint's authorities and revocation lists."""

    def __init__(self, authentication: CertificateAuthentication) -> None:
        """`authentication` has been used for TLS already, so that its PEM is known to be good.

        Reads whole revocation lists, which may have tens of thousands of entries: to be made in a thread.
        """
        authorities = x509.load_pem_x509_certificates(authentication.client_root_certificate_chain)
        lists = _load_lists(authentication.certificate_revocation_list)
        flags = crypto.X509StoreFlags
        self._store = _store(authorities, lists, flags.CRL_CHECK)
        self._whole_chain = _store(authorities, lists, flags.CRL_CHECK | flags.CRL_CHECK_ALL)
        self._listed = frozenset(revoked.serial_number for one in lists for revoked in one)

    def is_suspect(self, serial_number: int) -> bool:
        """Whether a revocation list has a client's serial number: worth looking at before all others."""
        return serial_number in self._listed

    def find_fault(self, chain: Sequence[crypto.X509]) -> tuple[CloseReason, str] | None:
        """Why a client with this chain, its own certificate first, may not stay; None where it may.

        A revocation list is demanded of the issuer of the client's certificate alone, as in the handshake: for
        authorities above, one is honoured where it is there.
        """
        fault = _verify(self._store, chain) or _verify(self._whole_chain, chain)
        if fault is None or (fault.errors[0] == _NO_CRL and fault.errors[1] > 0):
            return None
        number, _, text = fault.errors
        return _REASONS.get(number, CloseReason.UNKNOWN_CA), f"the certificate is no longer accepted: {text}"


def _verify(store: crypto.X509Store, chain: Sequence[crypto.X509]) -> crypto.X509StoreContextError | None:
    own, *others = chain
    try:
        crypto.X509StoreContext(store, own, others).verify_certificate()
    except crypto.X509StoreContextError as fault:
        return fault
    return None


def _load_lists(pem: bytes | None) -> list[x509.CertificateRevocationList]:
    blocks = pem.split(_CRL_END)[:-1] if pem else []
    return [x509.load_pem_x509_crl(block[block.index(b"-----BEGIN") :] + _CRL_END) for block in blocks]


def _store(
    authorities: list[x509.Certificate], lists: list[x509.CertificateRevocationList], crl_flags: int
) -> crypto.X509Store:
    store = crypto.X509Store()
    for authority in authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
    for one in lists:
        store.add_crl(one)
    if lists:
        store.set_flags(crl_flags)
    return store
