from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gateway.managed.backlog import ENDED_FOR_S, Backlog, Batch, Lost
from tests.unit.gateway.managed.rows import T0, counters, ended, established, failed

if TYPE_CHECKING:
    from gateway.connection_log import ConnectionRecord


def test_an_attempt_and_an_end_are_news_and_a_refresh_is_not() -> None:
    backlog = Backlog()
    assert backlog.note(established())
    assert not backlog.note(established(counters=counters(1)))
    assert backlog.note(ended(established(), T0 + 1))
    assert backlog.note(failed(2))
    events = backlog.batch().events
    assert [event.attempt_status.value for event in events] == ["successful", "NA", "failed"]


def test_only_the_newest_state_of_a_connection_is_kept() -> None:
    backlog = Backlog()
    backlog.note(established())
    backlog.measure([(established().connection_id, counters(5))])
    last = ended(established(), T0 + 60, moved=9)
    backlog.note(last)
    batch = backlog.batch()
    assert (batch.states, batch.counters) == ((last,), ())
    assert backlog.live == ()


def test_counters_that_have_not_changed_are_not_written() -> None:
    backlog = Backlog()
    backlog.note(established(1))
    backlog.note(established(2))
    backlog.written(backlog.batch())
    first, second = backlog.live
    backlog.measure([(first, counters(0)), (second, counters(3))])
    assert backlog.batch().counters == ((second, counters(3)),)
    backlog.written(backlog.batch())
    backlog.measure([(second, counters(3))])
    assert not backlog.batch()


def test_counters_of_a_session_that_has_not_been_announced_wait_for_that() -> None:
    backlog = Backlog()
    backlog.measure([("cvpn-connection-unheard-of", counters(1))])
    assert not backlog.batch()


def test_what_changed_while_it_was_being_written_is_written_again() -> None:
    backlog = Backlog()
    backlog.note(established())
    batch = backlog.batch()
    refreshed = established(counters=counters(2))
    backlog.note(refreshed)
    backlog.note(failed(2))
    backlog.written(batch)
    assert backlog.batch().states == (refreshed,)
    assert backlog.batch().events == (failed(2),)


def test_a_batch_that_was_not_written_stays() -> None:
    backlog = Backlog()
    backlog.note(established())
    assert backlog.batch() == backlog.batch()
    assert backlog.size == 2


def test_too_many_events_are_lost_and_reported_once() -> None:
    backlog = Backlog(max_events=2)
    for number in range(5):
        backlog.note(failed(number))
    batch = backlog.batch()
    assert (len(batch.events), batch.lost_events, backlog.lost) == (2, 3, Lost(events=3))
    backlog.written(batch)
    backlog.note(failed(9))
    assert backlog.batch().lost_events == 0
    assert backlog.lost == Lost(events=3)


def test_of_too_many_ended_connections_the_oldest_is_lost() -> None:
    backlog = Backlog(max_ended=2)
    for number in range(3):
        backlog.note(ended(established(number), T0))
    assert [record.connection_id[-1] for record in backlog.batch().states] == ["1", "2"]
    assert backlog.lost == Lost(connections=1)


def test_a_connection_whose_endpoint_is_not_there_yet_is_tried_again() -> None:
    backlog = Backlog()
    gone, lives = ended(established(1), T0), established(2)
    for record in (established(1), gone, lives):
        backlog.note(record)
    backlog.written(backlog.batch(), [gone.connection_id, lives.connection_id])
    assert not backlog.batch()
    backlog.try_again(T0 + 1)
    assert set(backlog.batch().states) == {gone, lives}


def test_a_connection_that_ended_long_ago_needs_no_endpoint_any_more() -> None:
    backlog = Backlog()
    backlog.note(ended(established(), T0))
    backlog.written(backlog.batch(), [established().connection_id])
    backlog.try_again(T0 + ENDED_FOR_S)
    assert not backlog.batch()
    assert backlog.size == 0


def test_a_batch_can_be_taken_apart_into_rows() -> None:
    backlog = Backlog(max_events=2)
    for record in (established(1), established(2), failed(3)):
        backlog.note(record)
    backlog.measure([(established(1).connection_id, counters(1))])
    batch = backlog.batch()
    parts = tuple(batch.rows())
    assert all(len(part.states) + len(part.counters) + len(part.events) + part.lost_events == 1 for part in parts)
    whole = Batch(
        tuple(state for part in parts for state in part.states),
        tuple(changed for part in parts for changed in part.counters),
        tuple(event for part in parts for event in part.events),
        sum(part.lost_events for part in parts),
    )
    assert whole == batch


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["establish", "move", "end", "write", "half-write", "fail"])),
        max_size=60,
    )
)
def test_the_end_state_of_every_connection_is_written_whatever_happens_meanwhile(
    steps: list[tuple[int, str]],
) -> None:
    """Connection ids are never used again, so a step for one that has ended begins another."""
    backlog = Backlog()
    expected: dict[str, ConnectionRecord] = {}
    stored: dict[str, ConnectionRecord] = {}
    lives = dict.fromkeys(range(4), 0)
    in_flight: Batch | None = None
    for moment, (slot, step) in enumerate(steps):
        current = established(1000 * slot + lives[slot])
        connection_id = current.connection_id
        if step == "establish":
            moved = counters(moment if connection_id in expected else 0)
            expected[connection_id] = replace(current, updated_at=T0 + moment, counters=moved)
            backlog.note(expected[connection_id])
        elif step == "move" and connection_id in expected:
            backlog.measure([(connection_id, counters(moment))])
            expected[connection_id] = replace(expected[connection_id], counters=counters(moment))
        elif step == "end" and connection_id in expected:
            expected[connection_id] = ended(expected[connection_id], T0 + moment, moment)
            backlog.note(expected[connection_id])
            lives[slot] += 1
        elif step == "half-write":
            in_flight = in_flight or backlog.batch()
        elif step == "write" and in_flight is not None:
            _store(stored, in_flight)
            backlog.written(in_flight)
            in_flight = None
    if in_flight is not None:
        _store(stored, in_flight)
        backlog.written(in_flight)
    _store(stored, backlog.batch())
    backlog.written(backlog.batch())
    assert not backlog.batch()
    assert {key: (r.ended_at, r.counters) for key, r in stored.items()} == {
        key: (r.ended_at, r.counters) for key, r in expected.items()
    }


def _store(stored: dict[str, ConnectionRecord], batch: Batch) -> None:
    for record in batch.states:
        stored[record.connection_id] = record
    for connection_id, moved in batch.counters:
        stored[connection_id] = replace(stored[connection_id], counters=moved)
