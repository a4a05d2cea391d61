"""The types of single values in a configuration: addresses, networks, names.

Owns what one value must look like, and the sentence for one that does not. Must not know sections or files.
"""

from __future__ import annotations

import difflib
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.config.problems import WrongValue
from policy import MAX_BANNER

__all__ = [
    "Address",
    "Banner",
    "DomainName",
    "Group",
    "HostName",
    "InterfaceName",
    "ListOf",
    "ListenAddress",
    "LogGroupName",
    "Name",
    "Network",
    "OneLine",
    "Seconds",
    "Tables",
    "is_host",
    "is_host_name",
    "nearest",
    "printable",
    "shown",
]

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LOG_GROUP = re.compile(r"[A-Za-z0-9._/#-]{1,512}")
"""What CloudWatch takes, so that names of log groups there can be names here."""
_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MAX_HOST_NAME = 253
_MAX_INTERFACE_NAME = 15
_MAX_GROUP = 255
_MAX_SHOWN = 60


def shown(value: object) -> str:
    """Show a value from the file in a sentence, in TOML's spelling, and not at any length."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    text = f'"{printable(value)}"' if isinstance(value, str) else printable(str(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def nearest(word: str, known: list[str]) -> str | None:
    """Return the one of `known` that somebody most probably meant, in whatever case; None when nothing is near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def is_host_name(text: str) -> bool:
    """Whether a text can be a DNS name: labels of letters, digits, hyphens and underscores."""
    return len(text) <= _MAX_HOST_NAME and all(
        _HOST_LABEL.fullmatch(label) for label in text.removesuffix(".").split(".")
    )


def is_host(text: str) -> bool:
    """Whether a text can be a DNS name, or is an address."""
    try:
        ip_address(text)
    except ValueError:
        return is_host_name(text)
    return True


def printable(text: str) -> str:
    """Return a text with whatever a terminal could take amiss replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _text(value: object, example: str) -> str:
    if not isinstance(value, str):
        raise WrongValue(f'must be text in quotes, such as "{example}", not {shown(value)}')
    return value


def _parse_network(value: object) -> IPv4Network:
    text = _text(value, "10.20.0.0/24")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise WrongValue(f'must be a network, such as "10.20.0.0/24", not {shown(text)}') from None
    if not isinstance(network, IPv4Network):
        raise WrongValue(f"must be an IPv4 network: tunnels carry no IPv6, so {shown(text)} cannot be reached")
    if str(network[0]) != text.partition("/")[0]:
        raise WrongValue(f'is an address inside a network, {shown(text)}; the network itself is "{network}"')
    return network


def _parse_listen_address(value: object) -> IPv4Address | IPv6Address:
    text = _text(value, "0.0.0.0")  # noqa: S104 - an example
    try:
        return ip_address(text)
    except ValueError:
        raise WrongValue(f'must be an address of this host, or "0.0.0.0" or "::" for all, not {shown(text)}') from None


def _parse_address(value: object) -> IPv4Address:
    text = _text(value, "10.20.0.53")
    try:
        return IPv4Address(text)
    except ValueError:
        raise WrongValue(f'must be an IPv4 address, such as "10.20.0.53", not {shown(text)}') from None


def _check_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise WrongValue(
            f"must be 1 to 63 letters, digits, dots, hyphens or underscores, beginning with a letter or digit, "
            f"not {shown(text)}"
        )
    return text


def _check_host_name(text: str) -> str:
    if text and not is_host(text):
        raise WrongValue(f'must be a DNS name or an address, such as "vpn.example.com", not {shown(text)}')
    return text


def _check_domain(text: str) -> str:
    if not is_host_name(text):
        raise WrongValue(f'must be a DNS domain, such as "corp.example.com", not {shown(text)}')
    return text


def _check_interface(text: str) -> str:
    unusable = not text.isascii() or not text.isprintable() or any(character in " /:" for character in text)
    if unusable or not 1 <= len(text) <= _MAX_INTERFACE_NAME or text in {".", ".."}:
        raise WrongValue(f'must be the name of a network interface, such as "eth1", not {shown(text)}')
    return text


def _check_group(text: str) -> str:
    if not 1 <= len(text) <= _MAX_GROUP or not text.isprintable() or "," in text or text != text.strip():
        raise WrongValue(
            f"must be the name of a group: 1 to {_MAX_GROUP} printable characters without commas, not {shown(text)}"
        )
    return text


def _check_one_line(text: str) -> str:
    if not text.isprintable():
        raise WrongValue("must be one line without control characters")
    return text


def _check_log_group(text: str) -> str:
    if not _LOG_GROUP.fullmatch(text):
        raise WrongValue(
            f"must be 1 to 512 letters, digits, dots, hyphens, underscores, slashes or number signs, not {shown(text)}"
        )
    return text


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    repeated = {str(value) for position, value in enumerate(values) if value in values[:position]}
    if repeated:
        raise WrongValue(f"names {', '.join(sorted(repeated))} twice; once is enough")
    return values


def _refuse_text(value: object) -> object:
    if isinstance(value, str):
        raise WrongValue(f"must be a list in brackets, such as [{shown(value)}]")
    return value


def _refuse_table(value: object) -> object:
    if isinstance(value, dict):
        raise WrongValue("is a single table; it can be there several times, so write it in double brackets: [[…]]")
    return value


Network = Annotated[IPv4Network, BeforeValidator(_parse_network)]
Address = Annotated[IPv4Address, BeforeValidator(_parse_address)]
ListenAddress = Annotated[IPv4Address | IPv6Address, BeforeValidator(_parse_listen_address)]
Name = Annotated[str, AfterValidator(_check_name)]
HostName = Annotated[str, AfterValidator(_check_host_name)]
DomainName = Annotated[str, AfterValidator(_check_domain)]
InterfaceName = Annotated[str, AfterValidator(_check_interface)]
Group = Annotated[str, AfterValidator(_check_group)]
Seconds = Annotated[int, Field(ge=1, le=86400)]
LogGroupName = Annotated[str, AfterValidator(_check_log_group)]
Banner = Annotated[str, Field(max_length=MAX_BANNER)]
OneLine = Annotated[str, Field(max_length=255), AfterValidator(_check_one_line)]
ListOf = Annotated[tuple[T, ...], Field(strict=False), BeforeValidator(_refuse_text), AfterValidator(_distinct)]
"""TOML's arrays, kept as tuples; without repetitions."""
Tables = Annotated[tuple[T, ...], Field(strict=False), BeforeValidator(_refuse_table)]
"""TOML's arrays of tables, kept as tuples."""
