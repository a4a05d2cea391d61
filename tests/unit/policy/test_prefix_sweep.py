from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from policy.prefix_sweep import Interval, overlay, sweep
from tests.unit.policy.specs import addresses, networks


def test_without_prefixes_the_default_holds_everywhere() -> None:
    assert sweep([], default=True) == [Interval(0, True)]


def test_after_a_nested_prefix_the_wider_one_goes_on() -> None:
    wide, narrow = IPv4Network("10.0.0.0/8"), IPv4Network("10.1.0.0/16")
    assert sweep([(narrow, False), (wide, True)], default=False) == [
        (0, False),
        (0x0A000000, True),
        (0x0A010000, False),
        (0x0A020000, True),
        (0x0B000000, False),
    ]


def test_prefixes_that_end_together_end_once() -> None:
    wide, narrow = IPv4Network("255.0.0.0/8"), IPv4Network("255.255.255.255/32")
    assert sweep([(wide, True), (narrow, False)], default=False) == [
        (0, False),
        (0xFF000000, True),
        (0xFFFFFFFF, False),
    ]
    assert sweep([(IPv4Network("0.0.0.0/1"), True), (IPv4Network("127.0.0.0/8"), False)], default=True) == [
        (0, True),
        (0x7F000000, False),
        (0x80000000, True),
    ]


@given(st.dictionaries(networks, st.booleans(), max_size=20), st.booleans(), addresses)
def test_every_address_has_the_value_of_its_longest_prefix(
    values: dict[IPv4Network, bool], default: bool, address: IPv4Address
) -> None:
    around = [network for network in values if address in network]
    expected = values[max(around, key=lambda network: network.prefixlen)] if around else default
    intervals = sweep(values.items(), default=default)
    assert [value for start, value in intervals if start <= int(address)][-1] is expected


@given(st.dictionaries(networks, st.booleans(), max_size=20))
def test_intervals_begin_at_zero_and_ascend(values: dict[IPv4Network, bool]) -> None:
    starts = [start for start, _ in sweep(values.items(), default=False)]
    assert starts[0] == 0
    assert starts == sorted(set(starts))


def test_overlay_names_every_change_of_any_layer() -> None:
    left = [Interval(0, False), Interval(5, True), Interval(9, False)]
    right = [Interval(0, True), Interval(5, False), Interval(7, True)]
    assert list(overlay(left, right)) == [
        (0, (False, True)),
        (5, (True, False)),
        (7, (True, True)),
        (9, (False, True)),
    ]
