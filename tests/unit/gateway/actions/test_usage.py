from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

import gateway.actions.usage  # noqa: F401 - registers it
from gateway.actions.usage import format_hours
from gateway.store.schema import usage
from tests.unit.gateway.actions.harness import NOW, invoke, limited_to, refused
from tests.unit.gateway.actions.rows import ENDPOINT_ID, add_endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store import Store

OTHER_ID = "cvpn-endpoint-00000000000000002"
DAY = 86_400
T0 = int(NOW) - 10 * DAY


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(T0 + seconds, UTC)


def interval(number: int, start: float, end: float | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "connection",
        "id": f"cvpn-connection-{number}",
        "endpoint_id": ENDPOINT_ID,
        "name": "ana",
        "groups": ["engineering"],
        "started_at": float(T0 + start),
        "seen_at": float(T0 + (start if end is None else end)),
        "ended_at": None if end is None else float(T0 + end),
    } | changes


def keep(store: Store, *intervals: dict[str, Any]) -> None:
    with store.write() as transaction:
        transaction.execute(insert(usage), list(intervals))


def get(store: Store, start: float, end: float, **more: Any) -> dict[str, Any]:
    return invoke(store, "GetUsage", StartTime=at(start), EndTime=at(end), **more)


def association(number: int, start: float, end: float | None = None) -> dict[str, Any]:
    return interval(number, start, end, kind="association", name="", groups=[])


def test_hours_are_pro_rated_inside_the_period(store: Store) -> None:
    keep(store, association(1, -DAY, 5400), interval(1, 1800, 3601), interval(2, 3000, DAY, name="bob"))
    reply = get(store, 0, 3600)
    assert reply["UsageRecords"] == [
        {
            "ClientVpnEndpointId": ENDPOINT_ID,
            "Connections": 2,
            "ConnectionSeconds": 1800 + 600,
            "ConnectionHours": "0.666667",
            "AssociationSeconds": 3600,
            "AssociationHours": "1",
        }
    ]
    assert (reply["StartTime"], reply["EndTime"], reply["NextToken"]) == (at(0), at(3600), None)


def test_an_association_goes_on_and_a_connection_was_last_seen(store: Store) -> None:
    """A gateway that is killed leaves both open."""
    keep(store, association(1, 0), interval(2, 0, seen_at=float(T0 + 60)))
    total = get(store, 0, 20 * DAY)["Total"]
    assert (total["AssociationSeconds"], total["ConnectionSeconds"]) == (10 * DAY, 60)


def test_users_have_no_associations_and_count_once_in_each_of_their_groups(store: Store) -> None:
    keep(
        store,
        association(1, 0, 3600),
        interval(1, 0, 100, groups=["engineering", "staff"]),
        interval(2, 0, 10, name="bob", groups=["staff"]),
        interval(3, 0, 1, name="eve", groups=[]),
    )
    users = get(store, 0, 3600, GroupBy="user")
    assert {one["Username"]: one["ConnectionSeconds"] for one in users["UsageRecords"]} == {
        "ana": 100,
        "bob": 10,
        "eve": 1,
    }
    groups = get(store, 0, 3600, GroupBy="group")
    assert {one["GroupId"]: one["ConnectionSeconds"] for one in groups["UsageRecords"]} == {
        "engineering": 100,
        "staff": 110,
        "": 1,
    }
    assert "AssociationSeconds" not in groups["UsageRecords"][0]
    assert (groups["Total"]["ConnectionSeconds"], groups["Total"]["AssociationSeconds"]) == (111, 3600)


def test_without_a_period_it_is_this_month_so_far(store: Store) -> None:
    reply = invoke(store, "GetUsage")
    now = datetime.fromtimestamp(NOW, UTC)
    assert (reply["StartTime"], reply["EndTime"]) == (datetime(now.year, now.month, 1, tzinfo=UTC), now)
    assert reply["GroupBy"] == "endpoint"
    assert reply["Total"]["ConnectionHours"] == "0"


def test_one_endpoint_or_one_user_can_be_asked_for(store: Store) -> None:
    add_endpoint(store)
    keep(
        store,
        interval(1, 0, 100),
        interval(2, 0, 10, name="bob"),
        interval(3, 0, 1, endpoint_id=OTHER_ID),
    )
    assert get(store, 0, 100, ClientVpnEndpointId=ENDPOINT_ID)["Total"]["ConnectionSeconds"] == 110
    assert get(store, 0, 100, Username="ana")["Total"]["ConnectionSeconds"] == 101


def test_an_endpoint_that_is_gone_can_be_asked_for_and_one_that_never_was_cannot(store: Store) -> None:
    keep(store, interval(1, 0, 100))
    assert get(store, 0, 100, ClientVpnEndpointId=ENDPOINT_ID)["Total"]["ConnectionSeconds"] == 100
    with refused("InvalidClientVpnEndpointId.NotFound"):
        get(store, 0, 100, ClientVpnEndpointId=OTHER_ID)


def test_callers_see_what_their_endpoints_have_used(store: Store) -> None:
    keep(store, interval(1, 0, 100), interval(2, 0, 10, endpoint_id=OTHER_ID))
    reply = get(store, 0, 100, caller=limited_to(OTHER_ID))
    assert [one["ClientVpnEndpointId"] for one in reply["UsageRecords"]] == [OTHER_ID]
    assert reply["Total"]["ConnectionSeconds"] == 10
    with refused("InvalidClientVpnEndpointId.NotFound"):
        get(store, 0, 100, caller=limited_to(OTHER_ID), ClientVpnEndpointId=ENDPOINT_ID)


def test_many_users_come_in_pages_and_each_page_has_the_whole_total(store: Store) -> None:
    keep(store, *(interval(number, 0, 10, name=f"user{number:02}") for number in range(12)))
    seen: list[str] = []
    token = None
    while True:
        reply = get(store, 0, 10, GroupBy="user", MaxResults=5, **({"NextToken": token} if token else {}))
        assert reply["Total"]["ConnectionSeconds"] == 120
        seen += [one["Username"] for one in reply["UsageRecords"]]
        if (token := reply["NextToken"]) is None:
            break
    assert seen == [f"user{number:02}" for number in range(12)]


def test_a_period_has_to_have_an_order(store: Store) -> None:
    with refused("InvalidParameterCombination"):
        get(store, 10, 0)


@pytest.mark.parametrize(
    ("seconds", "hours"),
    [(0, "0"), (1, "0.000278"), (1800, "0.5"), (3600, "1"), (36_000_000, "10000"), (3601, "1.000278")],
)
def test_hours_are_rounded_where_they_are_printed(seconds: int, hours: str) -> None:
    assert format_hours(seconds) == hours


@given(st.integers(0, 10**15))
def test_printed_hours_are_off_by_half_a_millionth_at_most(seconds: int) -> None:
    assert abs(Fraction(format_hours(seconds)) - Fraction(seconds, 3600)) <= Fraction(1, 2_000_000)


# Against the naive meaning

_intervals = st.lists(
    st.tuples(
        st.sampled_from(["association", "connection"]),
        st.sampled_from([ENDPOINT_ID, OTHER_ID]),
        st.sampled_from(["ana", "bob", "ünïcode"]),
        st.sampled_from([(), ("a",), ("a", "b"), ("b", "a"), ('"quoted"', "ü")]),
        st.integers(-50, 50),
        st.integers(0, 60),
        st.booleans(),
    ),
    max_size=12,
)


def naive(intervals: Sequence[dict[str, Any]], start: int, end: int, by: str) -> dict[str, tuple[int, int]]:
    """Second by second."""
    sums: dict[str, list[int]] = {}
    for one in intervals:
        keys = {
            "endpoint": [one["endpoint_id"]],
            "user": [one["name"]] if one["kind"] == "connection" else [],
            "group": sorted(set(one["groups"])) or [""] if one["kind"] == "connection" else [],
        }[by]
        running = NOW if one["kind"] == "association" else one["seen_at"]
        over = running if one["ended_at"] is None else one["ended_at"]
        began_inside = T0 + start <= one["started_at"] < T0 + end
        seconds = sum(one["started_at"] <= T0 + second < over for second in range(start, end))
        for key in keys if seconds or began_inside else []:
            total = sums.setdefault(key, [0, 0])
            total[one["kind"] == "connection"] += seconds
    return {key: (associated, connected) for key, (associated, connected) in sums.items()}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    _intervals,
    st.tuples(st.integers(-60, 60), st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from(["endpoint", "user", "group"]),
)
def test_sums_are_those_of_counting_every_second(
    store: Store, drawn: list[tuple[Any, ...]], period: tuple[int, int, int], by: str
) -> None:
    start, length, more = period
    intervals = [
        interval(
            number,
            began,
            kind=kind,
            endpoint_id=endpoint_id,
            name="" if kind == "association" else name,
            groups=[] if kind == "association" else list(groups),
            seen_at=float(T0 + began + lasted),
            ended_at=None if open_still else float(T0 + began + lasted),
        )
        for number, (kind, endpoint_id, name, groups, began, lasted, open_still) in enumerate(drawn)
    ]
    with store.write() as transaction:
        transaction.execute(delete(usage))
        if intervals:
            transaction.execute(insert(usage), intervals)
    end = start + length
    assert _summed(get(store, start, end, GroupBy=by), by) == naive(intervals, start, end, by)
    first, second, both = (
        get(store, *period)["Total"] for period in ((start, end), (end, end + more), (start, end + more))
    )
    for kind in ("AssociationSeconds", "ConnectionSeconds"):
        assert first[kind] + second[kind] == both[kind]


def _summed(reply: dict[str, Any], by: str) -> dict[str, tuple[int, int]]:
    member = {"endpoint": "ClientVpnEndpointId", "user": "Username", "group": "GroupId"}[by]
    return {one[member]: (one.get("AssociationSeconds", 0), one["ConnectionSeconds"]) for one in reply["UsageRecords"]}
