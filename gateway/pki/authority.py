"""A small certificate authority over a directory: who may log in, and who no longer.

    ca.crt ca.key                      the authority itself
    server.crt server.key              certificates by name, of gateways
    alice.crt alice.key                … and of clients
    alice-tls-crypt-v2.key             a client's own control-channel key, made when it is first asked for
    crl.pem                            who is revoked
    tls-crypt.key tls-auth.key         control-channel keys that all clients share
    tls-crypt-v2.key                   the key that wraps clients' own
    index.json                         what was issued
    revoked/                           the files of revoked certificates, by name and serial number

Every file has mode 0600 and none is ever overwritten, but for the list and the index. All methods raise PkiError.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.pki import issuing
from gateway.pki.directory import Directory
from gateway.pki.errors import PkiError
from gateway.pki.index import Index, IssuedCertificate, Role, build_index, parse_index
from gateway.pki.issuing import AuthorityKey, KeyType, NewCertificate, Subject
from gateway.pki.names import alternative_name, check_group, check_name, client_alternative_names, looks_like_host
from tunnel import (
    KeyFileError,
    Metadata,
    build_client_key,
    build_server_key,
    build_static_key,
    generate_client_key,
    generate_server_key,
    generate_static_key,
    parse_server_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Authority", "ClientFiles"]

ROOT_DAYS = 3650
END_DAYS = 825
"""What current systems take of a TLS server at most; clients get the same where nothing is said."""
CRL_DAYS = 180
"""A list is renewed when half of this is over, so an authority that is used twice a year never lets one lapse."""

_ROOT_CERTIFICATE = "ca.crt"
_ROOT_KEY = "ca.key"
_CRL = "crl.pem"
_INDEX = "index.json"
_REVOKED = "revoked"
_TLS_CRYPT = "tls-crypt.key"
_TLS_AUTH = "tls-auth.key"
_TLS_CRYPT_V2 = "tls-crypt-v2.key"


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """What a client's profile is made of, in PEM."""

    certificate: bytes
    private_key: bytes
    authority: bytes
    """The certificate that the authority itself has."""

    def __repr__(self) -> str:
        return "ClientFiles()"


def utc_now() -> datetime:
    """Return the time; certificates know no fractions of seconds."""
    return datetime.now(UTC).replace(microsecond=0)


class Authority:
    """The authority of one directory. Its methods may run in several processes at once: each takes the lock."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Nothing is read yet; `init` makes what the other methods need."""
        self.directory = Directory(path)
        self._clock = clock
        self._random_bytes = random_bytes

    def exists(self) -> bool:
        """Whether the directory holds an authority."""
        return self.directory.exists(_ROOT_CERTIFICATE)

    def init(self, *, common_name: str = "Portway CA", key_type: KeyType = KeyType.ECDSA_P256) -> None:
        """Make the authority, its first revocation list and the control-channel keys."""
        now = self._clock()
        self.directory.create()
        with self.directory.locked():
            present = [name for name in (_ROOT_CERTIFICATE, _ROOT_KEY, _INDEX) if self.directory.exists(name)]
            if present:
                raise PkiError(
                    f"{self.directory.path} holds an authority already ({', '.join(present)}), "
                    "and nothing is ever overwritten."
                )
            root = issuing.issue_root(common_name, key_type, now=now, not_after=now + timedelta(days=ROOT_DAYS))
            self._add_control_keys()
            self._sign_crl(root, Index())
            self.directory.add(_ROOT_KEY, issuing.build_private_key_pem(root.key))
            self.directory.add(_ROOT_CERTIFICATE, issuing.build_certificate_pem(root.certificate))

    def issue_server(
        self,
        name: str,
        *,
        alternative_names: Sequence[str] = (),
        days: int | None = None,
        key_type: KeyType = KeyType.ECDSA_P256,
    ) -> IssuedCertificate:
        """Issue a gateway's certificate. Its name, where it can be one, is an alternative name besides those given."""
        check_name(name)
        texts = dict.fromkeys([name, *alternative_names] if looks_like_host(name) else alternative_names)
        subject = Subject(name, (), tuple(alternative_name(text) for text in texts))
        return self._issue(subject, Role.SERVER, days, key_type)

    def issue_service(self, name: str, alternative_names: Sequence[str], days: int) -> tuple[NewCertificate, bytes]:
        """Issue a short-lived certificate to a service of this host, and give the authority's own in PEM besides.

        It is not listed here and cannot be revoked: the service keeps it, and asks again before it ends.
        """
        subject = Subject(check_name(name), (), tuple(alternative_name(text) for text in alternative_names))
        now = self._clock()
        with self._opened() as (root, _):
            not_after = min(now + timedelta(days=days), _end_of_life(root.certificate, now, None))
            new = issuing.issue_server_certificate(root, subject, KeyType.ECDSA_P256, now=now, not_after=not_after)
            return new, issuing.build_certificate_pem(root.certificate)

    def certificate(self) -> bytes:
        """Return the authority's own certificate, in PEM."""
        self._check_exists()
        return self.directory.read(_ROOT_CERTIFICATE)

    def issue_client(
        self, name: str, *, groups: Sequence[str] = (), days: int | None = None, key_type: KeyType = KeyType.ECDSA_P256
    ) -> IssuedCertificate:
        """Issue a client's certificate, with each group as an organisational unit."""
        check_name(name)
        distinct = tuple(dict.fromkeys(check_group(group) for group in groups))
        return self._issue(Subject(name, distinct, client_alternative_names(name)), Role.CLIENT, days, key_type)

    def revoke(self, name: str) -> IssuedCertificate:
        """Revoke the certificate of this name and move its files away, so that the name is free again."""
        with self._opened() as (root, index):
            issued = index.current(check_name(name))
            if issued is None:
                raise PkiError(f'There is no certificate "{name}" to revoke. See `portway pki list`.')
            self._sign_crl(root, index.with_revocation(issued.serial, self._clock()))
            for suffix in (".crt", ".key", "-tls-crypt-v2.key"):
                self.directory.move_away(f"{name}{suffix}", _REVOKED, f"{name}-{issued.serial}{suffix}")
            return issued

    def certificates(self) -> tuple[IssuedCertificate, ...]:
        """Return everything that was issued, the oldest first."""
        return self._index().certificates

    def renew_crl(self) -> bool:
        """Sign the revocation list anew if it is due; True if it was.

        Due it is when half of its life is over, when a revocation is missing in it, or when it cannot be read.
        """
        with self._opened() as (root, index):
            if not self._is_crl_stale(index):
                return False
            self._sign_crl(root, index)
            return True

    def client_files(self, name: str) -> ClientFiles:
        """Return what a client needs to log in."""
        issued = self._index().current(check_name(name))
        if issued is None or issued.role is not Role.CLIENT:
            raise PkiError(f'There is no client "{name}" here. Make one with `portway pki client {name}`.')
        return ClientFiles(
            self.directory.read(f"{name}.crt"),
            self.directory.read(f"{name}.key"),
            self.directory.read(_ROOT_CERTIFICATE),
        )

    def client_tls_crypt_v2_key(self, name: str) -> str:
        """Return the text of a client's own tls-crypt-v2 key, which is made when there is none."""
        file = f"{check_name(name)}-tls-crypt-v2.key"
        with self.directory.locked():
            if not self.directory.exists(file):
                self.directory.add(file, self._new_client_key().encode())
            return self.directory.read(file).decode("ascii", "replace")

    def _issue(self, subject: Subject, role: Role, days: int | None, key_type: KeyType) -> IssuedCertificate:
        name, now = subject.common_name, self._clock()
        with self._opened() as (root, index):
            not_after = _end_of_life(root.certificate, now, days)
            self._check_free(name, index)
            issue = issuing.issue_server_certificate if role is Role.SERVER else issuing.issue_client_certificate
            new = issue(root, subject, key_type, now=now, not_after=not_after)
            issued = _record(new, subject, role)
            self.directory.replace(_INDEX, build_index(index.with_certificate(issued)))
            self.directory.add(f"{name}.key", issuing.build_private_key_pem(new.key))
            self.directory.add(f"{name}.crt", issuing.build_certificate_pem(new.certificate))
            return issued

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[AuthorityKey, Index]]:
        """Hold the lock over what was read, so that what is written follows from it."""
        self._check_exists()
        with self.directory.locked():
            yield self._load()

    def _check_exists(self) -> None:
        if not self.exists():
            raise PkiError(f"{self.directory.path} holds no authority yet. Make one with `portway pki init`.")

    def _check_free(self, name: str, index: Index) -> None:
        if index.current(name):
            raise PkiError(
                f'"{name}" has a certificate already, and nothing is ever overwritten. '
                f"To replace it, `portway pki revoke {name}` first."
            )
        for file in (f"{name}.crt", f"{name}.key"):
            if self.directory.exists(file):
                path = self.directory.file(file)
                raise PkiError(f"{path} exists already, and nothing is ever overwritten. Move it out of the way.")

    def _sign_crl(self, root: AuthorityKey, index: Index) -> None:
        """Write the index, then its list: should the second fail, `renew_crl` sees from the numbers that it is due."""
        now, index = self._clock(), index.with_next_crl_number()
        revoked = [(int(issued.serial, 16), issued.revoked_at) for issued in index.certificates if issued.revoked_at]
        crl = issuing.sign_crl(
            root, revoked, number=index.crl_number, now=now, next_update=now + timedelta(days=CRL_DAYS)
        )
        self.directory.replace(_INDEX, build_index(index))
        self.directory.replace(_CRL, crl)

    def _is_crl_stale(self, index: Index) -> bool:
        try:
            crl = x509.load_pem_x509_crl(self.directory.read(_CRL))
            number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        except (PkiError, ValueError, x509.ExtensionNotFound):
            return True
        due = crl.next_update_utc
        return due is None or number != index.crl_number or due - self._clock() < timedelta(days=CRL_DAYS / 2)

    def _add_control_keys(self) -> None:
        """Make the keys that are not there: who has used OpenVPN before may bring them along."""
        texts = {
            _TLS_CRYPT: build_static_key(generate_static_key(self._random_bytes)),
            _TLS_AUTH: build_static_key(generate_static_key(self._random_bytes)),
            _TLS_CRYPT_V2: build_server_key(generate_server_key(self._random_bytes)),
        }
        for file, text in texts.items():
            if not self.directory.exists(file):
                self.directory.add(file, text.encode())

    def _new_client_key(self) -> str:
        try:
            server_key = parse_server_key(self.directory.read(_TLS_CRYPT_V2).decode("ascii", "replace"))
        except KeyFileError as error:
            raise PkiError(f"{self.directory.file(_TLS_CRYPT_V2)} is damaged: {error}.") from None
        metadata = Metadata.created_at(self._clock().timestamp())
        return build_client_key(generate_client_key(server_key, metadata, self._random_bytes))

    def _load(self) -> tuple[AuthorityKey, Index]:
        index = self._index()
        try:
            certificate = x509.load_pem_x509_certificate(self.directory.read(_ROOT_CERTIFICATE))
            key = load_pem_private_key(self.directory.read(_ROOT_KEY), password=None)
        except (ValueError, TypeError) as error:
            raise PkiError(f"The authority in {self.directory.path} is damaged: {error}.") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise PkiError(f"{self.directory.file(_ROOT_KEY)} holds a key that cannot sign certificates.")
        return AuthorityKey(certificate, key), index

    def _index(self) -> Index:
        self._check_exists()
        return parse_index(self.directory.read(_INDEX))


def _end_of_life(root: x509.Certificate, now: datetime, days: int | None) -> datetime:
    end = root.not_valid_after_utc
    if end <= now:
        raise PkiError(f"The authority itself expired on {end:%Y-%m-%d}. Make a new one in another directory.")
    if days is None:
        return min(now + timedelta(days=END_DAYS), end)
    most = (end - now).days
    if not 1 <= days <= most:
        raise PkiError(
            f"A certificate may live 1 to {most} days, until the authority itself expires; {days} will not do."
        )
    return now + timedelta(days=days)


def _record(new: NewCertificate, subject: Subject, role: Role) -> IssuedCertificate:
    return IssuedCertificate(
        name=subject.common_name,
        role=role,
        serial=f"{new.certificate.serial_number:x}",
        groups=subject.groups,
        not_before=new.certificate.not_valid_before_utc,
        not_after=new.certificate.not_valid_after_utc,
    )
