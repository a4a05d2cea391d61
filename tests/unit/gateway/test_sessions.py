from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import Identity
from gateway.sessions import Lease, PeerIds, Session, SessionTable
from tunnel.plane import Path, Transport

if TYPE_CHECKING:
    from tunnel.connection import ServerConnection

HERE = Path(Transport.UDP, ("198.51.100.7", 1))
THERE = Path(Transport.UDP, ("198.51.100.7", 2))


def session(number: int, path: Path = HERE) -> Session:
    return Session(f"id{number}", cast("ServerConnection", None), path, bytes([number]) * 8)


def lease(peer_id: int, name: str = "ana") -> Lease:
    return Lease(peer_id, IPv4Address("10.80.0.2") + peer_id, Identity(name, (), 1))


def test_a_session_is_found_by_path_and_session_id() -> None:
    table = SessionTable()
    first, second = session(1), session(2)
    table.add(first)
    table.add(second)
    assert table.find(HERE, bytes([2]) * 8) is second
    assert table.find(THERE, bytes([2]) * 8) is None
    assert table.at(HERE) == (first, second)


def test_a_moved_session_is_found_where_it_is() -> None:
    table = SessionTable()
    moved = session(1)
    table.add(moved)
    table.move(moved, THERE)
    assert table.find(HERE, bytes([1]) * 8) is None
    assert table.find(THERE, bytes([1]) * 8) is moved


def test_leases_are_found_by_peer_and_by_name_the_oldest_first() -> None:
    table = SessionTable()
    sessions = [session(number) for number in range(3)]
    for number, one in enumerate(sessions):
        table.add(one)
        table.grant(one, lease(number))
    assert table.oldest_of_name("ana", 9) == tuple(sessions)
    assert table.oldest_of_name("ana", 1) == (sessions[0],)
    assert table.count_of_name("ana") == len(sessions)
    assert table.of_peer(1) is sessions[1]
    held = table.revoke(sessions[0])
    assert held == lease(0)
    assert table.revoke(sessions[0]) is None
    assert table.oldest_of_name("ana", 9) == tuple(sessions[1:])
    assert table.oldest_of_name("bob", 9) == ()
    assert table.count_of_name("bob") == 0
    assert table.lease_count == 2


def test_nothing_remains_of_a_session_that_is_removed() -> None:
    table = SessionTable()
    one = session(1)
    table.add(one)
    table.grant(one, lease(1))
    table.revoke(one)
    table.remove(one)
    assert len(table) == 0
    assert (table._by_path, table._by_peer, table._by_name) == ({}, {}, {})


@given(st.lists(st.booleans(), max_size=100))
def test_peer_ids_are_always_the_lowest_free(takes: list[bool]) -> None:
    ids = PeerIds()
    taken: list[int] = []
    for take in takes:
        if take:
            new = ids.take()
            assert new == min(set(range(len(taken) + 1)) - set(taken))
            taken.append(new)
        elif taken:
            ids.give_back(taken.pop(0))
