from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from gateway.connection_log import Counters
from gateway.measures import HANDSHAKE_BOUNDS_S, Histogram
from tests.unit.gateway.world import World, make_spec, pki


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_each_value_where_it_belongs(values: list[float]) -> None:
    histogram = Histogram(HANDSHAKE_BOUNDS_S)
    for value in values:
        histogram.add(value)
    *cumulative, total = accumulate(histogram.counts)
    assert cumulative == [sum(value <= bound for value in values) for bound in HANDSHAKE_BOUNDS_S]
    assert total == len(values)
    assert abs(histogram.sum - sum(values)) < 1e-6


def test_a_session_is_counted_by_how_it_began_and_ended() -> None:
    world = World()
    world.connect()
    world.connect(pki().client("bob"))
    world.plane.peers[0].traffic.ingress_bytes = 1500
    world.endpoint.peer_exited(0)
    measures = world.endpoint.measures
    assert (measures.established, measures.failed, measures.ended) == (2, {}, {"client-exit": 1})
    assert measures.moved == Counters(ingress_bytes=1500)
    assert sum(measures.authentication_s.counts) == sum(measures.confirmation_s.counts) == 2


def test_handshakes_take_the_time_they_take() -> None:
    world = World()
    client = world.client()
    while not world.plane.peers:
        world.now += 0.2
        client.step()
    world.settle()
    measures = world.endpoint.measures
    assert measures.authentication_s.sum >= 0.2
    assert measures.confirmation_s.sum < 0.2


def test_an_attempt_that_fails_is_counted_also_where_the_log_has_enough_of_them() -> None:
    world = World(make_spec(authentication=replace(make_spec().authentication, certificate_revocation_list=None)))
    for _ in range(35):
        world.connect(pki().tls(pki().read("server.crt"), pki().read("server.key")))
    assert sum(world.endpoint.measures.failed.values()) == 35
    assert len(world.log.records) < 35


def test_counters_add_up() -> None:
    assert Counters(1, 2, 3, 4) + Counters(10, 20, 30, 40) == Counters(11, 22, 33, 44)
