from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policy.errors import AddressUnavailable, PoolExhausted
from policy.pool import AddressPool, pool_capacity
from tests.unit.policy.specs import ip

SMALL = IPv4Network("10.80.0.0/29")


def exhausted(pool: AddressPool) -> bool:
    try:
        pool.release(pool.lease("probe"))
    except PoolExhausted:
        return True
    return False


@pytest.mark.parametrize(("network", "capacity"), [("10.0.0.0/29", 5), ("10.0.0.0/12", 2**20 - 3), ("10.0.0.0/31", 0)])
def test_capacity_leaves_out_network_gateway_and_broadcast(network: str, capacity: int) -> None:
    assert pool_capacity(IPv4Network(network)) == capacity


def test_addresses_are_leased_in_order_and_never_the_reserved_ones() -> None:
    pool = AddressPool(SMALL)
    assert [str(pool.lease(f"client-{i}")) for i in range(5)] == [f"10.80.0.{i}" for i in range(2, 7)]


def test_a_full_pool_says_so_and_stays_as_it_was() -> None:
    pool = AddressPool(SMALL)
    for i in range(5):
        pool.lease(f"client-{i}")
    with pytest.raises(PoolExhausted, match=r"all 5 addresses of 10\.80\.0\.0/29 are leased"):
        pool.lease("late")
    assert pool.used == pool.capacity == 5


def test_a_returning_owner_gets_the_former_address() -> None:
    pool = AddressPool(SMALL)
    first = pool.lease("alice")
    pool.lease("bob")
    pool.release(first)
    assert pool.lease("carol") != first
    assert pool.lease("alice") == first


def test_of_several_former_addresses_the_last_one_comes_back_first() -> None:
    pool = AddressPool(SMALL)
    laptop, phone = pool.lease("alice"), pool.lease("alice")
    pool.release(phone)
    pool.release(laptop)
    assert pool.lease("alice") == laptop
    assert pool.lease("alice") == phone


def test_new_owners_get_never_used_addresses_first_and_then_the_longest_free() -> None:
    pool = AddressPool(SMALL)
    alice, bob = pool.lease("alice"), pool.lease("bob")
    pool.release(bob)
    pool.release(alice)
    for i in range(3):
        assert pool.lease(f"client-{i}") not in (alice, bob)
    assert pool.lease("dave") == bob
    assert pool.lease("erin") == alice


def test_who_has_lost_an_address_to_another_gets_a_new_one() -> None:
    pool = AddressPool(SMALL, remember=0)
    address = pool.lease("alice")
    pool.release(address)
    assert pool.lease("bob") == address
    assert pool.lease("alice") != address


def test_a_reserved_address_is_not_leased_to_anybody_else() -> None:
    pool = AddressPool(SMALL)
    pool.reserve("alice", ip("10.80.0.3"))
    assert [str(pool.lease(f"client-{i}")) for i in range(4)] == ["10.80.0.2", "10.80.0.4", "10.80.0.5", "10.80.0.6"]
    assert exhausted(pool)
    assert pool.leases[ip("10.80.0.3")] == "alice"


def test_a_reserved_address_that_is_released_counts_as_used() -> None:
    pool = AddressPool(SMALL)
    pool.reserve("alice", ip("10.80.0.2"))
    pool.release(ip("10.80.0.2"))
    assert pool.lease("bob") == ip("10.80.0.3")
    assert pool.lease("alice") == ip("10.80.0.2")


@pytest.mark.parametrize("address", ["10.80.0.0", "10.80.0.1", "10.80.0.7", "10.80.0.8", "10.79.255.255"])
def test_what_the_pool_does_not_lease_cannot_be_reserved(address: str) -> None:
    with pytest.raises(AddressUnavailable, match="not one of the addresses"):
        AddressPool(SMALL).reserve("alice", ip(address))


def test_a_leased_address_cannot_be_reserved() -> None:
    pool = AddressPool(SMALL)
    address = pool.lease("alice")
    with pytest.raises(AddressUnavailable, match="leased already"):
        pool.reserve("alice", address)
    assert pool.leases == {address: "alice"}


def test_releasing_what_is_not_leased_is_a_bug_of_the_caller() -> None:
    pool = AddressPool(SMALL)
    with pytest.raises(KeyError):
        pool.release(ip("10.80.0.2"))


def test_memory_follows_use_not_the_size_of_the_range() -> None:
    pool = AddressPool(IPv4Network("10.16.0.0/12"), remember=10)
    for i in range(10_000):
        pool.release(pool.lease(f"visitor-{i}"))
    assert len(pool._free) == len(pool._free_of) == 11
    assert pool.used == 0


class PoolModel(RuleBasedStateMachine):
    """The pool beside a plain list of events: every lease must be the one that the list calls for."""

    @initialize(bits=st.integers(26, 29), remember=st.sampled_from([0, 2, 1000]))
    def begin(self, bits: int, remember: int) -> None:
        self.network = IPv4Network((0x0A500000, bits))
        self.remember = remember
        self.pool = AddressPool(self.network, remember=remember)
        self.leased: dict[IPv4Address, str] = {}
        self.released: list[tuple[IPv4Address, str]] = []  # the longest free first
        self.hosts = list(self.network.hosts())[1:]

    def expected(self, owner: str) -> IPv4Address:
        former = [address for address, name in self.released if name == owner]
        used = {*self.leased, *(address for address, _ in self.released)}
        fresh = [address for address in self.hosts if address not in used]
        if former:
            return former[-1]
        if fresh and len(self.released) <= self.remember:
            return fresh[0]
        return self.released[0][0]

    def take(self, address: IPv4Address, owner: str) -> None:
        self.released = [entry for entry in self.released if entry[0] != address]
        self.leased[address] = owner

    @rule(owner=st.sampled_from("abcdefgh"))
    def lease(self, owner: str) -> None:
        if len(self.leased) == len(self.hosts):
            with pytest.raises(PoolExhausted):
                self.pool.lease(owner)
            return
        expected = self.expected(owner)
        assert self.pool.lease(owner) == expected
        self.take(expected, owner)

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.leased)))
        self.pool.release(address)
        self.released.append((address, self.leased.pop(address)))

    @rule(owner=st.sampled_from("abcdefgh"), data=st.data())
    def reserve(self, owner: str, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(list(self.network)))
        if address in self.leased or address not in self.hosts:
            with pytest.raises(AddressUnavailable):
                self.pool.reserve(owner, address)
            return
        self.pool.reserve(owner, address)
        self.take(address, owner)

    @invariant()
    def books_agree(self) -> None:
        assert self.pool.leases == self.leased
        assert self.pool.used == len(self.leased)
        assert self.pool.capacity == len(self.hosts)
        assert list(self.pool._free.items()) == [(int(address), owner) for address, owner in self.released]


TestPoolModel = PoolModel.TestCase
