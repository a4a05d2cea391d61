from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actions.call import ActionError, Call
from gateway.actions.listing import matching_shapes, paginate, paginate_in_order, parse_filters
from tests.unit.gateway.actions.harness import ADMIN, NOW, SETTINGS, refused

if TYPE_CHECKING:
    from collections.abc import Iterable


def listing(action: str = "DescribeThings", **parameters: Any) -> Call:
    nothing: Any = None  # lists know of no store
    return Call(parameters, nothing, ADMIN, SETTINGS, nothing, NOW, action)


def passes(value: str, *patterns: str) -> bool:
    call = listing(Filters=[{"Name": "name", "Values": list(patterns)}])
    return parse_filters(call, {"name"}).match({"name": value})


def all_pages(items: Iterable[Any], size: int) -> list[list[Any]]:
    pages, token = [], None
    while True:
        page, token = paginate(listing(MaxResults=size, NextToken=token), items, key=lambda item: item)
        pages.append(page)
        if token is None:
            return pages


def test_no_filter_lets_everything_pass() -> None:
    assert parse_filters(listing(), {"name"}).match({"name": "x"})
    assert parse_filters(listing(Filters=None), {"name"}).match({})


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("udp", "udp"),
        ("u*", "udp"),
        ("*", ""),
        ("*d*", "udp"),
        ("*dp", "udp"),
        ("u?p", "udp"),
        ("10.?.0.0/16", "10.1.0.0/16"),
        ("a*b*c", "a-bb-b-c"),
        ("two*lines", "two\nlines"),
        (r"\*", "*"),
        (r"\?", "?"),
        ("\\\\", "\\"),
        ("\\", "\\"),
    ],
)
def test_a_value_matches_with_its_wildcards(pattern: str, value: str) -> None:
    assert passes(value, pattern)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [("udp", "UDP"), ("udp", "udp4"), ("u?p", "up"), ("1.0", "1x0"), (r"\*", "x"), ("*d", "udp"), ("a*b*c", "a-c-b")],
)
def test_nothing_else_matches(pattern: str, value: str) -> None:
    assert not passes(value, pattern)


@given(st.lists(st.text(alphabet="ab.*?", max_size=4), min_size=1, max_size=4), st.text(alphabet="ab.", max_size=8))
def test_a_pattern_means_what_its_naive_reading_means(parts: list[str], value: str) -> None:
    pattern = "*".join(parts)

    def naive(pattern: str, value: str) -> bool:
        if not pattern:
            return not value
        if pattern[0] == "*":
            return naive(pattern[1:], value) or bool(value and naive(pattern, value[1:]))
        return bool(value) and pattern[0] in ("?", value[0]) and naive(pattern[1:], value[1:])

    assert passes(value, pattern) == naive(pattern, value)


def test_a_hostile_pattern_is_answered() -> None:
    assert not passes("a" * 20_000, "*a" * 200 + "*b")


def test_one_of_the_values_is_enough_and_every_filter_has_to_be_met() -> None:
    call = listing(Filters=[{"Name": "a", "Values": ["1", "2"]}, {"Name": "b", "Values": ["3"]}])
    filters = parse_filters(call, {"a", "b"})
    assert filters.match({"a": "2", "b": "3"})
    assert not filters.match({"a": "2", "b": "4"})
    assert not filters.match({"b": "3"})


def test_an_attribute_of_several_values_passes_with_any_of_them() -> None:
    filters = parse_filters(listing(Filters=[{"Name": "a", "Values": ["2"]}]), {"a"})
    assert filters.match({"a": ["1", "2"]})
    assert not filters.match({"a": []})


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("tag:team", "blue*", True),
        ("tag:team", "red", False),
        ("tag:Team", "*", False),
        ("tag-key", "site", True),
        ("tag-key", "blue", False),
        ("tag-value", "blue-1", True),
        ("tag-value", "team", False),
    ],
)
def test_tags_are_filtered_by_key_by_value_and_by_both(name: str, value: str, *, found: bool) -> None:
    filters = parse_filters(listing(Filters=[{"Name": name, "Values": [value]}]), {"id"}, tagged=True)
    assert filters.match({"id": "x"}, {"team": "blue-1", "site": "here"}) is found
    assert not filters.match({"id": "x"})


def test_an_unknown_filter_is_refused_with_those_that_there_are() -> None:
    call = listing(Filters=[{"Name": "colour", "Values": ["red"]}])
    with refused("InvalidParameterValue", "Filters are: name, vpc-id."):
        parse_filters(call, {"vpc-id", "name"})
    with refused("InvalidParameterValue", "tag:KEY"):
        parse_filters(call, {"name"}, tagged=True)


@pytest.mark.parametrize("name", ["tag:x", "tag-key", "tag-value"])
def test_what_has_no_tags_has_no_tag_filters(name: str) -> None:
    with refused("InvalidParameterValue"):
        parse_filters(listing(Filters=[{"Name": name, "Values": ["x"]}]), {"name"})


def test_filters_have_so_many_values_and_no_more() -> None:
    halves = [{"Name": "name", "Values": [str(value) for value in range(100)]} for _ in range(2)]
    assert parse_filters(listing(Filters=halves), {"name"}).match({"name": "99"})
    with pytest.raises(ActionError, match="have 201 values") as refusal:
        parse_filters(listing(Filters=[*halves, {"Name": "name", "Values": ["x"]}]), {"name"})
    assert refusal.value.code == "FilterLimitExceeded"


@pytest.mark.parametrize("given", [{}, {"Name": "name"}, {"Name": "name", "Values": []}, {"Values": ["x"]}])
def test_half_a_filter_is_refused(given: dict[str, Any]) -> None:
    with refused("InvalidParameterValue"):
        parse_filters(listing(Filters=[given]), {"name"})


RECORD = {
    "Id": "a",
    "Open": True,
    "Size": 7,
    "Status": {"Code": "active"},
    "Parts": [{"Cidr": "10.1.0.0/16"}, {"Cidr": "10.2.0.0/16"}],
    "Empty": [],
    "Absent": None,
    "Tags": [{"Key": "team", "Value": "blue"}],
}
MEMBERS = {
    "id": "Id",
    "open": "Open",
    "size": "Size",
    "status": "Status.Code",
    "cidr": "Parts.Cidr",
    "empty": "Empty.Cidr",
    "absent": "Absent",
    "inside-absent": "Absent.Code",
    "unknown": "Missing.Code",
}


@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("id", "a", True),
        ("id", "b", False),
        ("open", "true", True),
        ("open", "True", False),
        ("size", "7", True),
        ("status", "act*", True),
        ("cidr", "10.2.0.0/16", True),
        ("cidr", "10.3.0.0/16", False),
        ("empty", "*", False),
        ("absent", "*", False),
        ("inside-absent", "*", False),
        ("unknown", "*", False),
        ("tag:team", "blue", True),
        ("tag:team", "red", False),
    ],
)
def test_a_record_passes_by_the_members_that_filters_look_at(name: str, value: str, *, passes: bool) -> None:
    call = listing(Filters=[{"Name": name, "Values": [value]}])
    assert matching_shapes(call, [RECORD], MEMBERS, tagged=True) == ([RECORD] if passes else [])


def test_without_filters_every_record_passes() -> None:
    assert matching_shapes(listing(), [RECORD, {}], MEMBERS) == [RECORD, {}]


def test_no_more_is_taken_from_a_long_list_than_a_page_needs() -> None:
    numbers = iter(range(100))
    page, token = paginate_in_order(listing(MaxResults=5), lambda _last: numbers, key=lambda item: item)
    assert page == [0, 1, 2, 3, 4]
    assert next(numbers) == 6
    later = listing(MaxResults=5, NextToken=token)
    page, token = paginate_in_order(later, lambda last: range(last + 1, 8), key=lambda item: item)
    assert (page, token) == ([5, 6, 7], None)


def test_a_token_without_a_key_is_refused() -> None:
    digest, _ = json.loads(base64.urlsafe_b64decode(second_page_token()))
    keyless = base64.urlsafe_b64encode(json.dumps([digest, None]).encode()).decode()
    with refused("InvalidNextToken"):
        paginate(listing(NextToken=keyless), range(9), key=lambda item: item)


def test_a_token_of_any_depth_is_refused() -> None:
    digest, _ = json.loads(base64.urlsafe_b64decode(second_page_token()))
    deep = base64.urlsafe_b64encode(f'["{digest}", {"[" * 600}{"]" * 600}]'.encode()).decode()
    with refused("InvalidNextToken"):
        paginate(listing(NextToken=deep), range(9), key=lambda item: item)


def test_without_a_size_a_list_is_one_page() -> None:
    assert paginate(listing(), [3, 1, 2], key=lambda item: item) == ([1, 2, 3], None)
    assert paginate(listing(), [], key=lambda item: item) == ([], None)


@given(st.sets(st.tuples(st.floats(allow_nan=False), st.text(max_size=3)), max_size=40), st.integers(5, 12))
def test_pages_together_are_the_list(items: set[tuple[float, str]], size: int) -> None:
    pages = all_pages(items, size)
    assert [item for page in pages for item in page] == sorted(items)
    assert all(len(page) == size for page in pages[:-1])
    assert len(pages) == 1 or pages[-1]


@given(st.sets(st.integers(0, 60), min_size=6), st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_what_stays_is_seen_once_whatever_comes_and_goes(start: set[int], gone: set[int], new: set[int]) -> None:
    first, token = paginate(listing(MaxResults=5), start, key=lambda item: item)
    later = (start - gone) | new
    seen = list(first)
    while token is not None:
        page, token = paginate(listing(MaxResults=5, NextToken=token), later, key=lambda item: item)
        seen += page
    assert len(seen) == len(set(seen))
    assert set(seen) >= start - gone


@pytest.mark.parametrize("size", [-1, 0, 4, 1001])
def test_a_page_of_an_impossible_size_is_refused(size: int) -> None:
    with refused("InvalidMaxResults", str(size)):
        paginate(listing(MaxResults=size), [1], key=lambda item: item)


def second_page_token(**parameters: Any) -> str:
    _, token = paginate(listing(MaxResults=5, **parameters), range(9), key=lambda item: item)
    assert token is not None
    return token


def test_the_size_of_pages_may_change_on_the_way() -> None:
    token = second_page_token()
    assert paginate(listing(MaxResults=1000, NextToken=token), range(9), key=lambda item: item) == ([5, 6, 7, 8], None)


def test_a_token_is_good_for_its_own_action_and_parameters_only() -> None:
    token = second_page_token(Id="a")
    for call in (
        listing(Id="b", NextToken=token),
        listing(NextToken=token),
        listing("DescribeOthers", Id="a", NextToken=token),
    ):
        with refused("InvalidNextToken"):
            paginate(call, range(9), key=lambda item: item)


def test_a_token_says_nothing_to_a_list_with_other_keys() -> None:
    with refused("InvalidNextToken"):
        paginate(listing(NextToken=second_page_token()), ["a"], key=lambda item: item)


@given(st.one_of(st.text(min_size=1), st.recursive(st.none() | st.integers() | st.text(), st.lists)))
def test_made_up_tokens_are_refused(made_up: object) -> None:
    token = made_up if isinstance(made_up, str) else base64.urlsafe_b64encode(json.dumps(made_up).encode()).decode()
    if token:
        with pytest.raises(ActionError) as caught:
            paginate(listing(NextToken=token), range(9), key=lambda item: item)
        assert caught.value.code == "InvalidNextToken"
