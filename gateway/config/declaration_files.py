"""A declaration on the machine of whoever wrote it: the file is read, and the files that it names with it.

A certificate, key or list is named as a file where the text has a slash in it or ends as such files do; other texts
are ARNs and names of what the store has. Must not know what becomes of a declaration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.config.declaration import PEM_BEGIN, parse_declaration
from gateway.config.files import read_file
from gateway.config.problems import ConfigError, Problem, WrongValue
from gateway.config.reading import read_toml
from gateway.config.sentences import endpoint_names, where_of
from gateway.config.values import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_declaration"]

_SUFFIXES = (".pem", ".crt", ".cer", ".key", ".crl")
_FILE_KEYS = (
    (("server_certificate",), False),
    (("server_key",), True),
    (("authentication", "client_root_certificate_chain"), False),
    (("authentication", "certificate_revocation_list"), False),
)
"""Where a file may be named, and whether it is a secret."""


def read_declaration(path: Path) -> dict[str, Any]:
    """Read a declaration, with the content of the files that it names in their place.

    Paths in the file are relative to it. Raises `ConfigError` with everything that is wrong with its shape.
    """
    raw = read_toml(path)
    problems = tuple(_insert_files(raw, path.absolute().parent))
    if problems:
        raise ConfigError(problems)
    parse_declaration(raw)
    return raw


def _insert_files(raw: dict[str, Any], directory: Path) -> Iterator[Problem]:
    names = endpoint_names(raw)
    endpoints = raw.get("endpoint")
    for index, endpoint in enumerate(endpoints if isinstance(endpoints, list) else ()):
        for keys, secret in _FILE_KEYS:
            table = endpoint
            for key in keys[:-1]:
                table = table.get(key) if isinstance(table, dict) else None
            value = table.get(keys[-1]) if isinstance(table, dict) else None
            if isinstance(table, dict) and isinstance(value, str) and _is_path(value):
                try:
                    table[keys[-1]] = _read_pem(directory / value, secret=secret)
                except WrongValue as wrong:
                    key_path = f"endpoint[{index}].{'.'.join(keys)}"
                    file = printable(str(directory / value))
                    yield Problem(key_path, f"Names {file}, which {wrong}.", where_of(key_path, names))


def _is_path(text: str) -> bool:
    if text.startswith((PEM_BEGIN, "arn:")):
        return False
    return "/" in text or text.endswith(_SUFFIXES)


def _read_pem(path: Path, *, secret: bool) -> str:
    octets = read_file(path, secret=secret)
    try:
        text = octets.decode("ascii")
    except UnicodeDecodeError:
        raise WrongValue("is no PEM") from None
    begin = text.find(PEM_BEGIN)
    if begin < 0:
        raise WrongValue("is no PEM")
    return text[begin:]  # a certificate may have its explanation before it
