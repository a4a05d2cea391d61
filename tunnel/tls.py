"""TLS inside the control channel: contexts shared by all connections, and one session over memory buffers.

OpenSSL does the work, by way of pyOpenSSL, which gives what the standard library does not: keying-material
export, CRLs and a verify callback. This module knows nothing of packets; `KeySession` carries the octets.

Settings follow OpenVPN's server: TLS 1.2 or later, no session cache, no tickets, no compression, no
renegotiation inside TLS, a client certificate required and checked for client authentication.
"""

from __future__ import annotations

import contextlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from tunnel.errors import HandshakeError, TlsConfigError
from tunnel.events import CloseReason

__all__ = ["TlsClientContext", "TlsServerContext", "TlsSession"]

_READ_SIZE = 16384
"""A whole record, or what a handshake says in one go."""

_CIPHERS_TLS12 = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES"
"""Forward secrecy always; OpenSSL's security level refuses what is weak."""

_CIPHERS_TLS13 = b"TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"
"""The strongest first, and of these the one whose key schedule costs less: a handshake hashes more than it encrypts."""

_MODE_NO_AUTO_CHAIN = 0x8
"""SSL_MODE_NO_AUTO_CHAIN, for which pyOpenSSL has no name: send no issuers but those that were given."""

_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}

_UNREADABLE = (ValueError, x509.InvalidVersion)
"""What `cryptography` raises for a certificate that OpenSSL takes: with version 6, for one."""

_NO_CRL_FOR_ISSUER = 3
"""X509_V_ERR_UNABLE_TO_GET_CRL."""

_VERIFY_REASONS: dict[int, CloseReason] = {
    2: CloseReason.UNKNOWN_CA,  # unable to get issuer certificate
    3: CloseReason.CRL_UNUSABLE,  # unable to get CRL
    5: CloseReason.CRL_UNUSABLE,  # unable to decrypt CRL signature
    7: CloseReason.UNKNOWN_CA,  # certificate signature failure: the issuer's name with another key
    8: CloseReason.CRL_UNUSABLE,  # CRL signature failure
    9: CloseReason.CERTIFICATE_NOT_YET_VALID,
    10: CloseReason.CERTIFICATE_EXPIRED,
    11: CloseReason.CRL_UNUSABLE,  # CRL is not yet valid
    12: CloseReason.CRL_UNUSABLE,  # CRL has expired
    15: CloseReason.CRL_UNUSABLE,  # format error in CRL's lastUpdate
    16: CloseReason.CRL_UNUSABLE,  # format error in CRL's nextUpdate
    18: CloseReason.UNKNOWN_CA,  # self-signed certificate
    19: CloseReason.UNKNOWN_CA,  # self-signed certificate in chain
    20: CloseReason.UNKNOWN_CA,  # unable to get local issuer certificate
    21: CloseReason.UNKNOWN_CA,  # unable to verify the first certificate
    23: CloseReason.CERTIFICATE_REVOKED,
    26: CloseReason.CERTIFICATE_WRONG_USAGE,  # unsuitable certificate purpose
    27: CloseReason.UNKNOWN_CA,  # certificate not trusted
    33: CloseReason.CRL_UNUSABLE,  # unable to get CRL issuer certificate
    44: CloseReason.CRL_UNUSABLE,  # different CRL scope
}
"""OpenSSL's X509_V_ERR numbers as reason codes; any other number is `CERTIFICATE_REFUSED`."""

_REASONS_BY_TLS_ERROR = {
    "peer did not return a certificate": CloseReason.NO_CERTIFICATE,
    "unsupported protocol": CloseReason.NO_COMMON_TLS,
    "no shared cipher": CloseReason.NO_COMMON_TLS,
    "no suitable signature algorithm": CloseReason.NO_COMMON_TLS,
    "no suitable key share": CloseReason.NO_COMMON_TLS,
    "wrong version number": CloseReason.NO_COMMON_TLS,
    "no protocols available": CloseReason.NO_COMMON_TLS,
}


class TlsServerContext:
    """What all TLS sessions of an endpoint share: its certificate, and what it demands of clients."""

    def __init__(
        self,
        *,
        certificate_chain: bytes,
        private_key: bytes,
        client_ca: bytes,
        crl: bytes | None = None,
        minimum_version: str = "1.2",
    ) -> None:
        """All material is PEM, `certificate_chain` with the endpoint's own certificate first.

        Raises `TlsConfigError` when OpenSSL refuses any of it.
        """
        self._context = _new_context(minimum_version)
        self._context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
        self._context.set_mode(_MODE_NO_AUTO_CHAIN)  # else OpenSSL verifies our own certificate in each handshake
        _trust(self._context, client_ca)
        _use_credentials(self._context, certificate_chain, private_key)
        if crl is not None:
            _demand_unrevoked(self._context, crl)
        self._context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify_callback)

    def new_session(self) -> TlsSession:
        """The server's end of a TLS session that has not begun."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return TlsSession(connection)


class TlsClientContext:
    """The client's side, for the sessions that Portway itself opens: tests, benchmarks, health checks."""

    def __init__(
        self,
        *,
        server_ca: bytes,
        certificate_chain: bytes | None = None,
        private_key: bytes | None = None,
        minimum_version: str = "1.2",
        maximum_version: str = "1.3",
    ) -> None:
        """All material is PEM; without a certificate the client stays anonymous. Raises `TlsConfigError`."""
        self._context = _new_context(minimum_version)
        self._context.set_max_proto_version(_VERSIONS[maximum_version])
        if certificate_chain is not None and private_key is not None:
            _use_credentials(self._context, certificate_chain, private_key)
        _trust(self._context, server_ca)
        self._context.set_verify(SSL.VERIFY_PEER, _verify_callback)

    def new_session(self) -> TlsSession:
        """The client's end of a TLS session that has not begun."""
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        return TlsSession(connection)


class _Judgement:
    """What the certificate check found, written by the verify callback.

    It is what OpenSSL's connection knows of us. If that were the session itself, both would hold each other, and tens
    of kilobytes would wait for the cycle collector when a client goes.
    """

    __slots__ = ("failure", "refused_certificate")

    def __init__(self) -> None:
        self.failure: tuple[CloseReason, str] | None = None
        self.refused_certificate: x509.Certificate | None = None


class TlsSession:
    """One TLS session: ciphertext and plaintext go in and come out, nothing is sent by itself.

    OpenSSL says by an exception that it has nothing to give; it is asked only after a call that may have changed that.
    """

    __slots__ = ("_connection", "_judgement", "_may_have_ciphertext", "_may_have_plaintext", "handshake_complete")

    def __init__(self, connection: SSL.Connection) -> None:
        """Made by a context's `new_session`."""
        self._connection = connection
        self._judgement = _Judgement()
        self._connection.set_app_data(self._judgement)
        self._may_have_ciphertext = False
        self._may_have_plaintext = False
        self.handshake_complete = False

    @property
    def refused_certificate(self) -> x509.Certificate | None:
        """The peer's own, where that was refused: who it claims to be, for the log and for nothing else."""
        return self._judgement.refused_certificate

    def receive(self, ciphertext: bytes) -> None:
        """Take octets from the peer and go on with the handshake. Raises `HandshakeError`."""
        if ciphertext:
            self._connection.bio_write(ciphertext)
            self._may_have_plaintext = True
        self.start()

    def start(self) -> None:
        """Take the next handshake step, the client's very first one included. Raises `HandshakeError`."""
        if self.handshake_complete:
            return
        self._may_have_ciphertext = True
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise self._failure(error) from error
        self.handshake_complete = True

    def read(self) -> bytes:
        """The plaintext of at most one TLS record; empty when there is none yet. Raises `HandshakeError`."""
        if not (self.handshake_complete and self._may_have_plaintext):
            return b""
        self._may_have_ciphertext = True  # an answer to a key update, or an alert
        try:
            return self._connection.recv(_READ_SIZE)
        except SSL.WantReadError:
            self._may_have_plaintext = False
            return b""
        except SSL.ZeroReturnError as error:
            raise HandshakeError(CloseReason.TLS_FAILED, "The client closed its TLS session.") from error
        except SSL.Error as error:
            raise self._failure(error) from error

    def write(self, plaintext: bytes) -> None:
        """Encrypt one message as a record of its own. Raises `HandshakeError` where OpenSSL cannot."""
        self._may_have_ciphertext = True
        try:
            self._connection.sendall(plaintext)
        except SSL.Error as error:
            raise self._failure(error) from error

    def ciphertext(self) -> bytes:
        """All octets that wait to go to the peer, alerts after a failure included."""
        if not self._may_have_ciphertext:
            return b""
        self._may_have_ciphertext = False
        chunks: list[bytes] = []
        with contextlib.suppress(SSL.Error):
            while not chunks or len(chunks[-1]) == _READ_SIZE:
                chunks.append(self._connection.bio_read(_READ_SIZE))
        return b"".join(chunks)

    def export(self, label: bytes, size: int) -> bytes:
        """Keying material by the TLS exporter (RFC 5705), without a context."""
        return self._connection.export_keying_material(label, size, None)

    def peer_chain(self) -> tuple[crypto.X509, ...]:
        """The verified certificates of the peer as OpenSSL has them, its own first; none before TLS is up."""
        return tuple(self._connection.get_verified_chain() or ()) if self.handshake_complete else ()

    def peer_certificate(self) -> x509.Certificate | None:
        """The peer's own, verified certificate; None before the handshake is complete, and where it has none.

        Raises `HandshakeError` for one that OpenSSL lets pass, and `cryptography` cannot read.
        """
        if not self.handshake_complete:
            return None
        try:
            return self._connection.get_peer_certificate(as_cryptography=True)
        except _UNREADABLE as error:
            text = f"The client's certificate was refused: it cannot be read ({error})."
            raise HandshakeError(CloseReason.CERTIFICATE_REFUSED, text) from error

    @property
    def version(self) -> str:
        """The protocol version as OpenSSL names it: TLSv1.2 or TLSv1.3."""
        return self._connection.get_protocol_version_name()

    def _failure(self, error: SSL.Error) -> HandshakeError:
        if self._judgement.failure is not None:
            return HandshakeError(*self._judgement.failure)
        text = _describe(error)
        for fragment, reason in _REASONS_BY_TLS_ERROR.items():
            if fragment in text:
                return HandshakeError(reason, f"TLS failed: {text}.")
        return HandshakeError(CloseReason.TLS_FAILED, f"TLS failed: {text}.")


def _new_context(minimum_version: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(_VERSIONS[minimum_version])
    context.set_cipher_list(_CIPHERS_TLS12)
    context.set_tls13_ciphersuites(_CIPHERS_TLS13)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def _use_credentials(context: SSL.Context, certificate_chain: bytes, private_key: bytes) -> None:
    try:
        own, *intermediates = x509.load_pem_x509_certificates(certificate_chain)
        context.use_certificate(own)
        for intermediate in intermediates or _trusted_issuers(context, own):
            context.add_extra_chain_cert(intermediate)
        key = load_pem_private_key(private_key, password=None)
        context.use_privatekey(key)  # type: ignore[arg-type]  # cryptography's union is wider than TLS keys
        context.check_privatekey()
    except (SSL.Error, *_UNREADABLE, TypeError, UnsupportedAlgorithm) as error:
        raise TlsConfigError(f"The certificate and its key cannot be used for TLS: {_describe(error)}.") from error


def _trusted_issuers(context: SSL.Context, certificate: x509.Certificate) -> list[x509.Certificate]:
    """The authorities between a certificate and its root, where this context trusts them. The root itself all have."""
    own = crypto.X509.from_cryptography(certificate)
    try:
        verified = crypto.X509StoreContext(_store(context), own).get_verified_chain()
    except crypto.X509StoreContextError:
        return []
    issuers = [issuer.to_cryptography() for issuer in verified[1:]]
    return [issuer for issuer in issuers if issuer.issuer != issuer.subject]


def _load_authorities(pem: bytes) -> list[crypto.X509]:
    try:
        return [crypto.X509.from_cryptography(authority) for authority in x509.load_pem_x509_certificates(pem)]
    except _UNREADABLE as error:
        raise TlsConfigError(f"The CA certificates cannot be read: {_describe(error)}.") from error


def _trust(context: SSL.Context, authorities: bytes) -> None:
    store = _store(context)
    for authority in _load_authorities(authorities):
        store.add_cert(authority)


def _demand_unrevoked(context: SSL.Context, crl: bytes) -> None:
    store = _store(context)
    try:
        for revocations in _load_crls(crl):
            store.add_crl(revocations)
    except (*_UNREADABLE, crypto.Error) as error:
        raise TlsConfigError(f"The certificate revocation list cannot be used: {_describe(error)}.") from error
    store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)


def _store(context: SSL.Context) -> crypto.X509Store:
    store = context.get_cert_store()
    if store is None:
        raise TlsConfigError("OpenSSL gave a context without a certificate store.")
    return store


def _load_crls(pem: bytes) -> list[x509.CertificateRevocationList]:
    end = b"-----END X509 CRL-----"
    blocks = [block + end for block in pem.split(end) if b"-----BEGIN X509 CRL-----" in block]
    if not blocks:
        raise ValueError("no X509 CRL block in the file")
    return [x509.load_pem_x509_crl(block) for block in blocks]


def _verify(connection: SSL.Connection, error_number: int, depth: int) -> bool:
    if error_number == _NO_CRL_FOR_ISSUER and depth > 0:
        return True  # a CRL is demanded of the issuer of the client's certificate, not of each authority above
    judgement = connection.get_app_data()
    if isinstance(judgement, _Judgement) and judgement.failure is None:
        reason = _VERIFY_REASONS.get(error_number, CloseReason.CERTIFICATE_REFUSED)
        text = _verify_error_text(error_number)
        where = "The client's certificate" if depth == 0 else f"An issuer (level {depth}) of the client's certificate"
        judgement.failure = (reason, f"{where} was refused: {text}.")
    return False


def _verify_callback(
    connection: SSL.Connection, certificate: crypto.X509, error_number: int, depth: int, ok: int
) -> bool:
    if ok or _verify(connection, error_number, depth):
        return True
    judgement = connection.get_app_data()
    if isinstance(judgement, _Judgement) and depth == 0:
        with contextlib.suppress(*_UNREADABLE):  # some certificates cannot even be read
            judgement.refused_certificate = certificate.to_cryptography()
    return False


def _verify_error_text(error_number: int) -> str:
    return _VERIFY_TEXTS.get(error_number, f"OpenSSL verify error {error_number}")


_VERIFY_TEXTS = {
    2: "its issuer is not known",
    3: "there is no revocation list of its issuer",
    7: "its signature is not the issuer's",
    8: "the revocation list is not signed by its issuer",
    9: "it is not yet valid",
    10: "it has expired",
    11: "the revocation list is not yet valid",
    12: "the revocation list has expired; renew it",
    18: "it is self-signed",
    19: "its chain ends in an authority that this endpoint does not trust",
    20: "its issuer is not known to this endpoint",
    21: "its issuer is not known to this endpoint",
    23: "it has been revoked",
    26: "it is not for client authentication",
    66: "its key is too small",
    67: "an issuer's key is too small",
    68: "its signature digest is too weak",
}


def _describe(error: Exception) -> str:
    """OpenSSL's own words for an error, without library names and numbers."""
    details = error.args[0] if error.args else ""
    if isinstance(details, list):
        words = [entry[-1] for entry in details if isinstance(entry, tuple) and entry and entry[-1]]
        return ", ".join(dict.fromkeys(words)) or "unknown error"
    return str(error) or type(error).__name__
