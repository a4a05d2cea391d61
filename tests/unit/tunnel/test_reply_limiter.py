from __future__ import annotations

from tunnel.reply_limiter import ReplyLimiter


def take_all(limiter: ReplyLimiter, now: float) -> int:
    taken = 0
    while limiter.has_room(now):
        limiter.take()
        taken += 1
    return taken


def test_so_many_answers_fit_a_window_and_no_more() -> None:
    limiter = ReplyLimiter(3, 10)
    assert take_all(limiter, 100) == 3
    assert take_all(limiter, 109.9) == 0


def test_the_next_window_has_all_the_room_again() -> None:
    limiter = ReplyLimiter(3, 10)
    take_all(limiter, 100)
    assert take_all(limiter, 110) == 3


def test_an_answer_given_back_makes_room_for_one() -> None:
    limiter = ReplyLimiter(3, 10)
    take_all(limiter, 100)
    limiter.give_back()
    assert take_all(limiter, 101) == 1


def test_answers_given_back_never_raise_the_limit() -> None:
    limiter = ReplyLimiter(3, 10)
    for _ in range(5):
        limiter.give_back()
    assert take_all(limiter, 100) == 3


def test_asking_takes_nothing() -> None:
    limiter = ReplyLimiter(1, 10)
    assert all(limiter.has_room(100) for _ in range(5))


def test_a_limit_of_nothing_answers_nobody() -> None:
    limiter = ReplyLimiter(0, 10)
    assert take_all(limiter, 100) == take_all(limiter, 200) == 0
