from __future__ import annotations

from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from policy.prefix_set import PrefixSet
from tests.unit.policy.specs import networks


def test_an_empty_set_overlaps_nothing() -> None:
    assert not PrefixSet([]).overlaps(IPv4Network("0.0.0.0/0"))


@given(st.lists(networks, max_size=15), networks)
def test_the_answer_is_that_of_comparing_with_each(members: list[IPv4Network], network: IPv4Network) -> None:
    assert PrefixSet(members).overlaps(network) == any(network.overlaps(member) for member in members)
