"""Nobody can take what others need: neither all connections, nor all turns."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.places import Place, Places, Turns, origin_of


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "", True),
    ],
)
def test_an_origin_is_what_one_client_has(one: str, other: str, are_one: bool) -> None:
    assert (origin_of(one) == origin_of(other)) is are_one


class Hall:
    """Places, with who has them."""

    def __init__(self, limit: int) -> None:
        self.places = Places(limit)
        self.taken: list[Place] = []

    def come(self, origin: str, *, busy: bool = False) -> bool:
        number = object()

        def end() -> None:
            self.taken = [place for place in self.taken if place is not found[number]]

        found: dict[object, Place] = {}
        place = self.places.take(origin, end)
        if place is None:
            return False
        place.note(busy)
        found[number] = place
        self.taken.append(place)
        return True

    def leave(self, place: Place) -> None:
        self.taken.remove(place)
        self.places.give_back(place)

    @property
    def shares(self) -> Counter[str]:
        return Counter(place.origin for place in self.taken)


async def test_who_is_alone_may_have_everything_and_no_more() -> None:
    hall = Hall(4)
    assert [hall.come("a", busy=True) for _ in range(5)] == [True, True, True, True, False]


async def test_who_has_most_makes_room_for_others() -> None:
    hall = Hall(4)
    for _ in range(4):
        hall.come("a", busy=True)
    assert [hall.come("b", busy=True), hall.come("b", busy=True), hall.come("b", busy=True)] == [True, True, False]
    assert hall.come("c", busy=True)
    assert sorted(hall.shares.values()) == [1, 1, 2]


async def test_what_is_not_in_use_goes_first_and_what_waits_longest_before_all() -> None:
    hall = Hall(3)
    for busy in (True, False, False):
        hall.come("a", busy=busy)
        hall.taken[-1].quiet_since = float(len(hall.taken))
    at_work, waiting, came_last = hall.taken
    hall.come("b")
    assert hall.taken[:2] == [at_work, came_last]
    assert waiting not in hall.taken


async def test_who_keeps_connections_for_later_gets_others_for_them() -> None:
    hall = Hall(2)
    hall.come("a", busy=True)
    hall.come("a")
    first = hall.taken[0]
    assert hall.come("a", busy=True)
    assert first in hall.taken
    assert not hall.come("a")


async def test_where_everybody_has_one_who_does_nothing_gives_way_to_who_has_none() -> None:
    hall = Hall(3)
    for origin in "abc":
        hall.come(origin, busy=origin != "b")
    assert not hall.come("a", busy=True)
    assert hall.come("d", busy=True)
    assert set(hall.shares) == {"a", "c", "d"}
    assert not hall.come("e", busy=True)


async def test_a_place_is_given_back_once() -> None:
    hall = Hall(1)
    hall.come("a")
    (lost,) = hall.taken
    hall.come("b", busy=True)
    hall.places.give_back(lost)
    assert not hall.come("c")
    hall.leave(hall.taken[0])
    assert hall.come("c")


@given(
    limit=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.booleans()), max_size=60),
)
async def test_whoever_comes_and_goes_no_one_is_refused_while_another_has_more(
    limit: int, steps: list[tuple[str, bool, bool]]
) -> None:
    hall = Hall(limit)
    for origin, busy, leaves in steps:
        if leaves and hall.taken:
            hall.leave(hall.taken[0])
            continue
        before = hall.shares
        if hall.come(origin, busy=busy):
            assert before[origin] <= hall.shares[origin] <= before[origin] + 1
        else:
            assert max(before.values()) <= before[origin] + 1
            assert sum(before.values()) == limit
        assert len(hall.taken) <= limit
        for other in before.keys() - {origin}:
            assert hall.shares[other] >= min(before[other], hall.shares[origin] - 1), "nobody loses to who has more"


async def test_there_are_so_many_turns_in_all_and_so_many_for_each(autojump_clock: trio.testing.MockClock) -> None:
    turns = Turns(3, 2)
    had: list[str] = []

    async def have(origin: str) -> None:
        try:
            async with turns.turn(origin, patience_s=5):
                had.append(origin)
                await trio.sleep(10)
        except trio.TooSlowError:
            had.append(f"{origin} not")

    async with trio.open_nursery() as nursery:
        for origin in "aaabb":
            nursery.start_soon(have, origin)
            await trio.testing.wait_all_tasks_blocked()
        assert had == ["a", "a", "b"]
    assert sorted(had) == ["a", "a", "a not", "b", "b not"]
    async with turns.turn("a", patience_s=1), turns.turn("a", patience_s=1), turns.turn("b", patience_s=1):
        pass
