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
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.actions.call import ActionError, Call

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

__all__ = ["MAX_RESULTS", "MIN_RESULTS", "Filters", "matching_shapes", "paginate", "paginate_in_order", "parse_filters"]

MIN_RESULTS = 5
MAX_RESULTS = 1000
"""Of `MaxResults`; also how long a page is where the caller does not say."""

_PAGING = frozenset({"MaxResults", "NextToken", "DryRun"})
"""Parameters that may differ from one page to the next."""

_Item = TypeVar("_Item")

_MAX_FILTER_VALUES = 200
"""AWS's limit."""


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
    away. Raises `InvalidParameterValue`, and `FilterLimitExceeded` where looking at every object would take long.
    """
    given = call.parameters.get("Filters") or ()
    count = sum(len(one.get("Values") or ()) for one in given)
    if count > _MAX_FILTER_VALUES:
        raise ActionError(
            "FilterLimitExceeded",
            f"The filters have {count} values. They may have up to {_MAX_FILTER_VALUES} together.",
        )
    return Filters(tuple(_parse_filter(one, names, tagged) for one in given))


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


def matching_shapes(
    call: Call, shapes: Iterable[dict[str, Any]], members: Mapping[str, str], *, tagged: bool = False
) -> list[dict[str, Any]]:
    """Those of a reply's records that the caller's filters let pass.

    `members` says which member each filter looks at, `Status.Code` for one inside another; with `tagged`, filters may
    look at `Tags`. Raises `InvalidParameterValue`.
    """
    filters = parse_filters(call, members.keys(), tagged=tagged)
    if not filters.filters:
        return list(shapes)
    asked = {item.name: members[item.name].split(".") for item in filters.filters if item.name in members}
    return [
        shape
        for shape in shapes
        if filters.match(
            {name: tuple(_texts_at(shape, path)) for name, path in asked.items()},
            {one["Key"]: one["Value"] for one in shape.get("Tags", ())},
        )
    ]


def _texts_at(value: Any, path: list[str]) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _texts_at(item, path)
    elif path:
        yield from _texts_at(value.get(path[0]), path[1:]) if value else ()
    elif value is not None:
        yield str(value).lower() if isinstance(value, bool) else str(value)


def paginate(call: Call, items: Iterable[_Item], *, key: Callable[[_Item], Any]) -> tuple[list[_Item], str | None]:
    """Return the page that the caller asks for, in the order of `key`, and the token of the next one.

    `key` is unique among items and made of text and numbers (tuples of them too). A token holds the last key that the
    caller has seen, so what stays in the list is seen exactly once, whatever comes and goes meanwhile; it is good for
    the same action with the same parameters. Raises `InvalidMaxResults` and `InvalidNextToken`.
    """

    def rest(last: Any) -> list[_Item]:
        ordered = sorted(items, key=key)
        return ordered if last is None else [item for item in ordered if key(item) > last]

    return paginate_in_order(call, rest, key=key)


def paginate_in_order(
    call: Call, rest: Callable[[Any], Iterable[_Item]], *, key: Callable[[_Item], Any]
) -> tuple[list[_Item], str | None]:
    """The same for a list that is too long to be read whole.

    `rest` gives the items beyond a key, or all of them for None, in the order of keys; no more are taken from it than
    the page has, and one. It raises `TypeError` for a key of another list.
    """
    size = _page_size(call.parameters.get("MaxResults"))
    token = call.parameters.get("NextToken")
    last = _read_token(call, token) if token else None
    try:
        taken = list(islice(rest(last), size + 1))
    except TypeError:
        if last is None:
            raise
        raise _bad_token() from None
    page = taken[:size]
    return page, _make_token(call, key(page[-1])) if len(taken) > size else None


def _page_size(asked: int | None) -> int:
    if asked is None:
        return MAX_RESULTS
    if not MIN_RESULTS <= asked <= MAX_RESULTS:
        raise ActionError("InvalidMaxResults", f"MaxResults is {asked}; it can be {MIN_RESULTS} to {MAX_RESULTS}.")
    return asked


def _make_token(call: Call, last: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps([_digest(call), last]).encode()).decode()


def _read_token(call: Call, token: str) -> Any:
    try:
        digest, last = _hashable(json.loads(base64.urlsafe_b64decode(token.encode())))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _bad_token() from None
    if digest != _digest(call) or last is None:
        raise _bad_token()
    return last


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
