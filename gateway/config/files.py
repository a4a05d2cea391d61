"""The files that a configuration names: reading them, and having parsed what they hold.

A path in the configuration stands for what is in the file, so validation reads it: a field of one of the types below
takes a path, relative to the configuration's directory, and holds a `NamedFile` with the parsed content. Owns the
sentences for files that are missing, unreadable, too open or not what they should be. Must not know sections.

Where `Surroundings.read_files` is False the files stay closed and every content is empty: what a configuration means
can then be judged although a file of it is broken.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from pydantic import PlainValidator, ValidationInfo

from gateway.config.pem import parse_certificates, parse_crls, parse_private_key
from gateway.config.problems import WrongValue
from gateway.config.values import printable, shown
from tunnel import KeyFileError, parse_server_key, parse_static_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = [
    "CertificateFile",
    "CrlFile",
    "NamedFile",
    "PrivateKeyFile",
    "StaticKeyFile",
    "Surroundings",
    "TlsCryptV2ServerKeyFile",
    "read_file",
    "surroundings_of",
]

T = TypeVar("T")

MAX_FILE_SIZE = 16 * 1024 * 1024
"""A revocation list of AWS's 20,000 entries has about 1 MiB; more than this is some other file."""

_OTHERS = stat.S_IROTH | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class NamedFile(Generic[T]):
    """A file that the configuration names."""

    path: Path
    octets: bytes = field(repr=False)
    """The content as it is; empty where it was not read."""
    content: T | None = field(repr=False)
    """The content parsed; None where it was not read."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the values of a configuration are checked against."""

    directory: Path
    """What relative paths begin at."""
    now: datetime
    read_files: bool = True
    files: list[Path] = field(default_factory=list)
    """Every file that was named so far; grows while a configuration is validated."""


def surroundings_of(info: ValidationInfo) -> Surroundings:
    """Return what the validation was given as its context."""
    surroundings = info.context
    if not isinstance(surroundings, Surroundings):
        raise TypeError("a configuration is validated with Surroundings as its context")
    return surroundings


def read_file(path: Path, *, secret: bool = False, limit: int = MAX_FILE_SIZE) -> bytes:
    """Read a whole file. Raises WrongValue, to go on where the path ends, for one that cannot or must not be used.

    `secret` refuses a file that every user of the host may read or replace.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            _check_status(path, os.fstat(file.fileno()), secret=secret, limit=limit)
            return file.read(limit)
    except WrongValue:
        raise
    except FileNotFoundError:
        raise WrongValue("does not exist") from None
    except PermissionError:
        raise WrongValue("may not be read by this user; check the owner and mode") from None
    except (OSError, ValueError) as error:
        raise WrongValue(f"cannot be read: {_reason(error)}") from None


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hold up the check


def _check_status(path: Path, status: os.stat_result, *, secret: bool, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise WrongValue("is no regular file")
    if status.st_size > limit:
        raise WrongValue(f"is too large to be what it should be ({status.st_size} octets)")
    if secret and status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise WrongValue(
            f"is a secret that every user of this host can get at (mode {mode:04o}); run `chmod 600 {path}`"
        )


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)


def _parse_static_key_octets(octets: bytes) -> bytes:
    return _openvpn_key(octets, lambda text: parse_static_key(text).octets)


def _parse_server_key_octets(octets: bytes) -> bytes:
    return _openvpn_key(octets, lambda text: parse_server_key(text).octets)


def _openvpn_key(octets: bytes, parse: Callable[[str], bytes]) -> bytes:
    try:
        return parse(octets.decode("ascii", "replace"))
    except KeyFileError as error:
        raise WrongValue(f"does not hold the key that it should: {error}") from None


def _file_of(parse: Callable[[bytes], T], *, secret: bool = False) -> PlainValidator:
    def read(value: object, info: ValidationInfo) -> NamedFile[T]:
        if not isinstance(value, str) or not value:
            raise WrongValue(f"must be the path of a file in quotes, not {shown(value)}")
        surroundings = surroundings_of(info)
        path = surroundings.directory / value
        surroundings.files.append(path)
        if not surroundings.read_files:
            return NamedFile(path, b"", None)
        try:
            octets = read_file(path, secret=secret)
            return NamedFile(path, octets, parse(octets))
        except WrongValue as wrong:
            raise WrongValue(f"names {printable(str(path))}, which {wrong}") from None

    return PlainValidator(read)


CertificateFile = Annotated[NamedFile[tuple[x509.Certificate, ...]], _file_of(parse_certificates)]
CrlFile = Annotated[NamedFile[tuple[x509.CertificateRevocationList, ...]], _file_of(parse_crls)]
PrivateKeyFile = Annotated[NamedFile[PrivateKeyTypes], _file_of(parse_private_key, secret=True)]
StaticKeyFile = Annotated[NamedFile[bytes], _file_of(_parse_static_key_octets, secret=True)]
TlsCryptV2ServerKeyFile = Annotated[NamedFile[bytes], _file_of(_parse_server_key_octets, secret=True)]
