"""What sessions of simulated clients leave in the store, and how the store ends them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from gateway.managed.mirror import StoreMirror, live_counters
from gateway.managed.terminations import Terminations
from gateway.object_ids import endpoint_id
from gateway.store.schema import connection, connection_event, usage
from tests.unit.gateway.actions.rows import add_endpoint
from tests.unit.gateway.managed.rows import rows
from tests.unit.gateway.world import World
from tunnel.events import CloseReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.sessions import Session
    from gateway.store import Store


class Node(World):
    """An endpoint whose sessions are mirrored into the store."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.mirror = StoreMirror(store, lambda: live_counters([self.endpoint]), node="gw1", unix_time=self.unix_time)
        self.log.follow(self.mirror.note)
        self.terminations = Terminations(store, lambda: [self.endpoint], node="gw1")

    async def write(self) -> None:
        self.mirror._refresh_moment = float("-inf")
        await self.mirror.write()

    @property
    def row(self) -> dict[str, Any]:
        (row,) = rows(self.store, connection)
        return row


def ask_to_terminate(store: Store) -> None:
    with store.write() as transaction:
        transaction.execute(update(connection).values(status_code="terminating"))


@pytest.fixture
def node(store: Store) -> Node:
    add_endpoint(store, endpoint_id("main"))
    return Node(store)


async def test_a_session_is_a_connection_a_log_and_an_interval(node: Node) -> None:
    node.connect()
    node.plane.peers[0].traffic.ingress_bytes = 1500
    await node.write()
    assert (node.row["status_code"], node.row["ingress_bytes"]) == ("active", 1500)
    assert (node.row["client_ip"], node.row["common_name"]) == ("10.80.0.2", "ana")
    node.advance(30)
    node.plane.peers[0].traffic.ingress_bytes = 2500
    node.endpoint.peer_exited(0)
    await node.write()
    assert (node.row["status_code"], node.row["ingress_bytes"]) == ("terminated", 2500)
    (interval,) = rows(node.store, usage)
    assert interval["ended_at"] - interval["started_at"] == 30
    assert [event["outcome"] for event in rows(node.store, connection_event)] == ["successful", "ended"]


async def test_a_handshake_that_is_not_done_is_no_connection(node: Node) -> None:
    client = node.client()
    client.step()
    await node.write()
    assert rows(node.store, connection) == rows(node.store, usage) == []


async def test_a_session_that_is_to_be_terminated_ends(node: Node) -> None:
    client = node.connect()
    await node.write()
    ask_to_terminate(node.store)
    await node.terminations.carry_out()
    ended_at = node.unix_time()
    node.advance(6)
    assert client.closed is CloseReason.TERMINATED
    await node.write()
    assert (node.row["status_code"], node.row["ended_at"]) == ("terminated", ended_at)
    assert rows(node.store, connection_event)[-1]["record"]["reason-code"] == "terminated"


async def test_one_that_ended_by_itself_meanwhile_is_terminated_with_its_own_end(node: Node) -> None:
    node.connect()
    await node.write()
    ask_to_terminate(node.store)
    node.advance(10)
    node.endpoint.peer_exited(0)
    node.advance(10)
    await node.terminations.carry_out()
    assert node.row["status_code"] == "terminated"
    await node.write()
    assert node.row["ended_at"] == node.unix_time() - 10


async def test_one_of_a_former_process_is_terminated_at_once(node: Node) -> None:
    node.connect()
    await node.write()
    ask_to_terminate(node.store)
    await Node(node.store).terminations.carry_out()
    assert (node.row["status_code"], node.row["ended_at"]) == ("terminated", node.unix_time())


async def test_one_that_cannot_be_ended_says_so_and_is_tried_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.connect()
    await node.write()
    ask_to_terminate(node.store)
    with stuck(node, monkeypatch):
        await node.terminations.carry_out()
    assert node.row["status_code"] == "failed-to-terminate"
    assert node.row["status_message"].endswith("Try again.")
    ask_to_terminate(node.store)
    await node.terminations.carry_out()
    await node.write()
    assert node.row["status_code"] == "terminated"


@contextmanager
def stuck(node: Node, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(session: Session) -> None:
        raise ZeroDivisionError(session.connection_id)

    with monkeypatch.context() as patch:
        patch.setattr(node.endpoint, "terminate", fail)
        yield


async def test_other_connections_and_other_nodes_are_left_alone(node: Node) -> None:
    node.connect()
    await node.write()
    await node.terminations.carry_out()
    assert node.row["status_code"] == "active"
    ask_to_terminate(node.store)
    other = Terminations(node.store, lambda: [node.endpoint], node="gw2")
    await other.carry_out()
    assert node.row["status_code"] == "terminating"
