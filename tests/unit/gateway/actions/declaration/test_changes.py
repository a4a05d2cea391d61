from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.actions import ActionError
from gateway.actions.declaration.changes import Change, Kind, Work, refuse
from tests.unit.gateway.actions.harness import NOW, make_call, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.store import Store

LINE = Change(Kind.MODIFY, 'endpoint "staff"', "endpoint[0]")


@pytest.fixture
def store_engine() -> str:
    return "sqlite"  # nothing here asks the database


@pytest.fixture
def work(store: Store) -> Iterator[Work]:
    with store.read() as connection:
        yield Work(make_call(store, connection))


def fail(code: str, sentence: str, status: int = 400) -> None:
    raise ActionError(code, sentence, status)


@pytest.mark.parametrize(
    ("said", "placed"),
    [
        ("VpnPort: It is taken.", "endpoint[0].vpn_port: It is taken."),
        ("keepalive.timeout_s: Too short.", "endpoint[0].keepalive.timeout_s: Too short."),
        ("dns_servers[1]: Twice.", "endpoint[0].dns_servers[1]: Twice."),
        ("It cannot be.", 'endpoint[0] (modify endpoint "staff"): It cannot be.'),
        ("Somebody: else.", 'endpoint[0] (modify endpoint "staff"): Somebody: else.'),
    ],
)
def test_a_refusal_is_put_where_the_file_asks_for_it(work: Work, said: str, placed: str) -> None:
    with refused("IncorrectState", placed, status=409) as refusal, work.change(LINE):
        fail("IncorrectState", said, 409)
    assert refusal.message == placed


def test_what_the_file_does_not_name_goes_by_its_line(work: Work) -> None:
    with refused("X", 'delete endpoint "staff": No.'), work.change(Change(Kind.DELETE, 'endpoint "staff"')):
        fail("X", "No.")


def test_lines_are_kept_in_the_order_of_the_work(work: Work) -> None:
    other = Change(Kind.CREATE, "another")
    with work.change(LINE), work.change(other):
        pass
    assert work.changes == [LINE, other]


def test_each_action_is_younger_than_the_one_before(work: Work) -> None:
    first, second = work.with_parameters(A=1), work.with_parameters(B=2)
    assert NOW < first.now < second.now < NOW + 1
    assert (first.parameters, first.caller, first.connection) == ({"A": 1}, work.call.caller, work.call.connection)


def test_a_refusal_of_one_s_own_names_the_key() -> None:
    assert refuse("endpoint[0].name", "No.").message == "endpoint[0].name: No."
