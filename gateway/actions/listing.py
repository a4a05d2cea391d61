"""Lists as EC2's API has them: filters with wildcards, and pages that stay right while the list changes.

Knows the shape of the parameters `Filters`, `MaxResults` and `NextToken`; must not know what is listed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.actions.call import ActionError, Call

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

__all__ = ["MAX_RESULTS", "MIN_RESULTS", "Filters", "paginate", "parse_filters"]

MIN_RESULTS = 5
MAX_RESULTS = 1000
"""Of `MaxResults`; also how long a page is where the caller does not say."""

_PAGING = frozenset({"MaxResults", "NextToken", "DryRun"})
"""Parameters that may differ from one page to the next."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class _Filter:
    """One filter: the named attribute has to have one of these values."""

    name: str
    patterns: tuple[re.Pattern[str], ...]

    def passes(self, values: Iterable[str]) -> bool:
        return any(pattern.fullmatch(value) for value in values for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a caller wants to see: every filter has to be met, by any of its values."""

    filters: tuple[_Filter, ...] = ()

    def match(self, attributes: Mapping[str, str | Iterable[str]], tags: Mapping[str, str] | None = None) -> bool:
        """Whether an object passes.

        `attributes` has what `parse_filters` was told of, by the filter's name; an attribute of several values passes
        with any of them, and one that is missing or empty does not pass.
        """
        return all(item.passes(_values(item.name, attributes, tags or {})) for item in self.filters)


def _values(name: str, attributes: Mapping[str, str | Iterable[str]], tags: Mapping[str, str]) -> Iterable[str]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return (tags[key],) if key in tags else ()
    if name == "tag-key":
        return tags.keys()
    if name == "tag-value":
        return tags.values()
    found = attributes.get(name, ())
    return (found,) if isinstance(found, str) else found


def parse_filters(call: Call, names: Collection[str], *, tagged: bool = False) -> Filters:
    """Read the parameter `Filters`, of which only `names` may be there, and with `tagged` those about tags.

    Values are compared with case, `*` stands for any text, `?` for one character, and a backslash takes their meaning
    away. Raises `InvalidParameterValue`.
    """
    return Filters(tuple(_parse_filter(given, names, tagged) for given in call.parameters.get("Filters") or ()))


def _parse_filter(given: Mapping[str, Any], names: Collection[str], tagged: bool) -> _Filter:
    name = given.get("Name") or ""
    if name not in names and not (tagged and (name in ("tag-key", "tag-value") or name.startswith("tag:"))):
        known = ", ".join((*sorted(names), *(("tag:KEY", "tag-key", "tag-value") if tagged else ())))
        raise ActionError("InvalidParameterValue", f"There is no filter {name!r} here. Filters are: {known}.")
    values = given.get("Values") or ()
    if not values:
        raise ActionError("InvalidParameterValue", f"The filter {name!r} has no values. Give at least one.")
    return _Filter(name, tuple(_pattern(value) for value in values))


def _pattern(text: str) -> re.Pattern[str]:
    """Compile EC2's wildcards, so that no text of a stranger's makes matching slow: groups are atomic."""
    first, *rest = _fixed_parts(text)
    if not rest:
        return re.compile(first, re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    return re.compile(f"{first}{middle}.*{rest[-1]}", re.DOTALL)


def _fixed_parts(text: str) -> list[str]:
    """Cut at each `*`; the parts are regular expressions."""
    parts = [""]
    characters = iter(text)
    for character in characters:
        if character == "*":
            parts.append("")
        elif character == "?":
            parts[-1] += "."
        elif character == "\\":
            parts[-1] += re.escape(next(characters, character))
        else:
            parts[-1] += re.escape(character)
    return parts


def paginate(call: Call, items: Iterable[_Item], *, key: Callable[[_Item], Any]) -> tuple[list[_Item], str | None]:
    """Return the page that the caller asks for, in the order of `key`, and the token of the next one.

    `key` is unique among items and made of text and numbers (tuples of them too). A token holds the last key that the
    caller has seen, so what stays in the list is seen exactly once, whatever comes and goes meanwhile; it is good for
    the same action with the same parameters. Raises `InvalidMaxResults` and `InvalidNextToken`.
    """
    size = _page_size(call.parameters.get("MaxResults"))
    token = call.parameters.get("NextToken")
    rest = sorted(items, key=key)
    if token:
        rest = _after(rest, _read_token(call, token), key)
    page = rest[:size]
    return page, _make_token(call, key(page[-1])) if len(rest) > size else None


def _page_size(asked: int | None) -> int:
    if asked is None:
        return MAX_RESULTS
    if not MIN_RESULTS <= asked <= MAX_RESULTS:
        raise ActionError("InvalidMaxResults", f"MaxResults is {asked}; it can be {MIN_RESULTS} to {MAX_RESULTS}.")
    return asked


def _after(items: list[_Item], last: Any, key: Callable[[_Item], Any]) -> list[_Item]:
    try:
        return [item for item in items if key(item) > last]
    except TypeError:  # a key of another list, in a token that nobody here has made
        raise _bad_token() from None


def _make_token(call: Call, last: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps([_digest(call), last]).encode()).decode()


def _read_token(call: Call, token: str) -> Any:
    try:
        digest, last = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _bad_token() from None
    if digest != _digest(call):
        raise _bad_token()
    return _hashable(last)


def _hashable(key: Any) -> Any:
    """JSON has lists where keys have tuples."""
    return tuple(_hashable(part) for part in key) if isinstance(key, list) else key


def _digest(call: Call) -> str:
    """What a token is good for: this action with these parameters."""
    lasting = {name: value for name, value in call.parameters.items() if name not in _PAGING}
    return hashlib.sha256(json.dumps([call.action, lasting], sort_keys=True, default=str).encode()).hexdigest()[:32]


def _bad_token() -> ActionError:
    return ActionError(
        "InvalidNextToken",
        "NextToken is not one of this list. Take it from the last reply, and leave the other parameters as they were.",
    )
