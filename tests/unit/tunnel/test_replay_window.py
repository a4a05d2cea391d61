from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunnel.replay_window import REPLAY_WINDOW_WIDTH, ReplayId, ReplayWindow

replay_ids = st.builds(ReplayId, st.integers(0, 3), st.integers(0, 400))


class NaiveWindow:
    """The same rules, remembering everything."""

    def __init__(self) -> None:
        self.seen: set[ReplayId] = set()

    def accept(self, replay_id: ReplayId) -> bool:
        latest = max(self.seen, default=ReplayId(-1, 0))
        too_late = replay_id.time < latest.time or (
            replay_id.time == latest.time and replay_id.packet_id <= latest.packet_id - REPLAY_WINDOW_WIDTH
        )
        if replay_id.packet_id == 0 or replay_id in self.seen or too_late:
            return False
        self.seen.add(replay_id)
        return True


@given(st.lists(replay_ids, max_size=200))
def test_the_window_decides_like_one_that_remembers_everything(ids: list[ReplayId]) -> None:
    window, naive = ReplayWindow(), NaiveWindow()
    assert [window.accept(replay_id) for replay_id in ids] == [naive.accept(replay_id) for replay_id in ids]


def test_every_id_is_accepted_once() -> None:
    window = ReplayWindow()
    assert window.accept(ReplayId(1, 1))
    assert not window.accept(ReplayId(1, 1))


def test_id_zero_is_never_accepted() -> None:
    assert not ReplayWindow().accept(ReplayId(1, 0))


def test_packets_may_come_late_by_just_less_than_the_window() -> None:
    window = ReplayWindow()
    window.accept(ReplayId(1, 1000))
    assert window.accept(ReplayId(1, 1000 - REPLAY_WINDOW_WIDTH + 1))
    assert not window.accept(ReplayId(1, 1000 - REPLAY_WINDOW_WIDTH))


def test_a_later_time_starts_over_and_ends_the_one_before() -> None:
    window = ReplayWindow()
    window.accept(ReplayId(1, 50))
    assert window.accept(ReplayId(2, 1))
    assert not window.accept(ReplayId(1, 51))


def test_a_leap_over_four_billion_ids_costs_no_memory() -> None:
    window = ReplayWindow()
    window.accept(ReplayId(1, 1))
    assert window.accept(ReplayId(1, 0xFFFFFFFF))
    assert window._seen == 1
    assert window.accept(ReplayId(1, 0xFFFFFFFE))
