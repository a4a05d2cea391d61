from hypothesis import given
from hypothesis import strategies as st

from gateway.half_open import REST_S, HalfOpen, source_network


def test_addresses_are_counted_by_their_24_or_56() -> None:
    assert str(source_network("198.51.100.9")) == "198.51.100.0/24"
    assert str(source_network("2001:db8:0:1234::9")) == "2001:db8:0:1200::/56"
    assert source_network("::ffff:198.51.100.9") == source_network("198.51.100.200")


def test_one_network_cannot_take_all_places() -> None:
    half_open = HalfOpen(limit=10, limit_per_network=2)
    assert half_open.enter("198.51.100.1", 0)
    assert half_open.enter("198.51.100.2", 0)
    assert not half_open.enter("198.51.100.3", 0)
    assert half_open.enter("203.0.113.1", 0)


def test_the_total_is_bounded() -> None:
    half_open = HalfOpen(limit=2, limit_per_network=2)
    assert half_open.enter("198.51.100.1", 0)
    assert half_open.enter("203.0.113.1", 0)
    assert not half_open.enter("192.0.2.1", 0)
    half_open.leave("198.51.100.1")
    assert half_open.enter("192.0.2.1", 0)


@given(st.lists(st.sampled_from(["198.51.100.1", "198.51.100.2", "203.0.113.1", "2001:db8::1"])))
def test_whatever_enters_and_leaves_the_bounds_hold_and_nothing_remains(addresses: list[str]) -> None:
    half_open = HalfOpen(limit=5, limit_per_network=3)
    inside = [address for address in addresses if half_open.enter(address, 0)]
    assert half_open.total == len(inside) <= 5
    for address in inside:
        half_open.leave(address)
    assert half_open.total == 0
    assert half_open._by_network == {}


def test_who_fails_has_a_place_less_for_a_while_and_others_do_not_notice() -> None:
    half_open = HalfOpen(limit=2, limit_per_network=2)
    assert half_open.enter("198.51.100.1", 0)
    half_open.fail("198.51.100.1", 0)
    assert half_open.enter("198.51.100.2", 1)
    assert not half_open.enter("198.51.100.3", 1)
    assert half_open.enter("203.0.113.1", 1)
    half_open.leave("203.0.113.1")
    assert half_open.enter("198.51.100.3", REST_S)
    assert not half_open._resting
    assert not half_open._resting_by_network
