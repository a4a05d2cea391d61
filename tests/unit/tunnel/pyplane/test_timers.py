from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock, create_autospec

import pytest

from tests.unit.tunnel.plane_suite.rig import peer
from tunnel.data_channel import WearLimits
from tunnel.plane import PlaneEvents
from tunnel.pyplane.access import Access
from tunnel.pyplane.egress import Egress
from tunnel.pyplane.peers import PeerRecord
from tunnel.pyplane.timers import tick


@pytest.fixture
def egress() -> Mock:
    return create_autospec(Egress, instance=True)  # type: ignore[no-any-return]


@pytest.fixture
def events() -> Mock:
    return create_autospec(PlaneEvents, instance=True)  # type: ignore[no-any-return]


def state(**changes: float) -> PeerRecord:
    about = replace(peer(1, "10.80.0.2"), **changes)  # type: ignore[arg-type]
    return PeerRecord(about, Access(about.access, bytes(4), bytes(4)), now=100)


def test_a_ping_goes_out_when_nothing_was_sent_for_the_interval(egress: Mock, events: Mock) -> None:
    client = state()
    for now in range(101, 140):
        pinged = egress.ping.call_count
        tick(client, egress, events, WearLimits(), now)
        if egress.ping.call_count > pinged:
            client.sent = True
    # Each ping shows one tick later as sent, and ten seconds after that the next is due.
    assert egress.ping.call_count == 3


def test_traffic_puts_the_ping_off(egress: Mock, events: Mock) -> None:
    client = state()
    for now in range(101, 200):
        client.sent = True
        tick(client, egress, events, WearLimits(), now)
    egress.ping.assert_not_called()


def test_a_peer_is_idle_from_the_exact_time_on_and_reported_once(egress: Mock, events: Mock) -> None:
    client = state()
    client.heard = True
    tick(client, egress, events, WearLimits(), 110)
    tick(client, egress, events, WearLimits(), 169.9)
    events.peer_idle.assert_not_called()
    for now in (170, 171, 1000):
        tick(client, egress, events, WearLimits(), now)
    events.peer_idle.assert_called_once_with(1)


def test_zero_turns_either_off(egress: Mock, events: Mock) -> None:
    client = state(ping_interval_s=0, idle_timeout_s=0)
    tick(client, egress, events, WearLimits(), 1e9)
    egress.ping.assert_not_called()
    events.peer_idle.assert_not_called()


def test_each_tick_gives_new_moves(egress: Mock, events: Mock) -> None:
    client = state()
    client.moves = 3
    tick(client, egress, events, WearLimits(), 101)
    assert client.moves == 0
