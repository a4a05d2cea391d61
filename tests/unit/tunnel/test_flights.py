"""How few packets the server needs to say what it has to say, and that no client waits for that."""

from __future__ import annotations

import pytest

from tests.unit.tunnel.link import Link, client_tls
from tunnel.client import ClientConfig
from tunnel.connection import FLIGHT_S
from tunnel.events import Established
from tunnel.wire import Opcode, opcode_of

HALF_ROUND_TRIP_S = 0.01
CLIENTS_LAST = 6
"""The number of the client's packet that ends its flight: after a reset, two of a ClientHello, an ACK, and TLS."""


class WatchedLink(Link):
    """Notes what the server sends and when, and loses one of the client's packets, the first of which is 1."""

    def __init__(self, version: str = "1.3", lost: int | None = None, client: str = "2.6.14") -> None:
        self.said: list[tuple[float, Opcode]] = []
        self.client_packets = 0
        self.lost = lost
        super().__init__(ClientConfig(tls=client_tls(version), extra_peer_info=(("IV_VER", client),)))

    def _send(self, packet: bytes, *, to_server: bool) -> None:
        if to_server:
            self.client_packets += 1
            if self.client_packets == self.lost:
                return
        else:
            self.said.append((self.now, Opcode(opcode_of(packet))))
        super()._send(packet, to_server=to_server)

    def said_at(self, half_round_trips: int) -> list[Opcode]:
        moment = 100 + half_round_trips * HALF_ROUND_TRIP_S
        return [opcode for at, opcode in self.said if at == pytest.approx(moment)]


def test_tickets_acknowledgements_the_key_method_and_the_push_leave_in_one_packet() -> None:
    link = WatchedLink()
    link.run(1)
    assert Established() in link.server_events
    assert link.said_at(3) == [Opcode.ACK_V1, Opcode.CONTROL_V1, Opcode.CONTROL_V1]  # TLS, up to Finished
    assert link.said_at(5) == [Opcode.CONTROL_V1]
    assert len(link.said) == 5


@pytest.mark.parametrize("client", ["3.11", ""])
def test_who_may_drop_a_push_beside_the_key_method_gets_it_after_an_acknowledgement(client: str) -> None:
    link = WatchedLink(client=client)
    link.run(1)
    assert Established() in link.server_events
    assert link.said_at(5) == [Opcode.CONTROL_V1]
    assert link.said_at(7) == [Opcode.CONTROL_V1]  # PUSH_REPLY
    assert len(link.said) == 6


@pytest.mark.parametrize(
    ("version", "client", "half_round_trips"),
    [("1.2", "2.6.14", 9), ("1.3", "2.6.14", 7), ("1.2", "3.11", 11), ("1.3", "3.11", 9)],
)
def test_a_client_connects_as_fast_as_the_path_allows(version: str, client: str, half_round_trips: int) -> None:
    link = WatchedLink(version, client=client)
    link.run((half_round_trips - 0.5) * HALF_ROUND_TRIP_S)
    assert Established() not in link.server_events
    link.run(HALF_ROUND_TRIP_S)
    assert Established() in link.server_events


def test_a_flight_that_has_lost_its_end_is_acknowledged_all_the_same() -> None:
    link = WatchedLink(lost=CLIENTS_LAST)
    link.run(5.5 * HALF_ROUND_TRIP_S)
    assert link.said_at(5) == []
    link.run(FLIGHT_S)
    assert link.said[-1][0] == pytest.approx(100 + 5 * HALF_ROUND_TRIP_S + FLIGHT_S)
    assert not link.server_events
    link.run(3)
    assert Established() in link.server_events
