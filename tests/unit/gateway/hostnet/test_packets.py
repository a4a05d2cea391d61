"""Where packets really go: clients at the TUN device, targets behind veth pairs, the kernel between them.

That a packet does *not* arrive is shown by order: after it, one is sent that must arrive, and that one comes first.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Raw

from tests.unit.gateway.hostnet.hosts import (
    BEHIND_TARGET,
    CLIENT,
    LAB,
    OFFICE,
    SECOND,
    TARGET,
    Hosts,
    is_unreachable,
    make_spec,
    udp_packet,
)

pytestmark = pytest.mark.netns

GATEWAY_OF_CLIENTS = "10.80.0.1"


def strict_reverse_path(hosts: Hosts) -> None:
    for name in ("all", "default", "eth0", "eth1", "eth2"):
        hosts.gateway.sysctl(f"net.ipv4.conf.{name}.rp_filter", 1)


@pytest.mark.parametrize("strict", [False, True])
def test_a_routed_target_sees_the_clients_own_address_and_answers_it(hosts: Hosts, strict: bool) -> None:
    if strict:
        strict_reverse_path(hosts)
    daemon = hosts.started()
    tun = daemon.add(make_spec())
    service = hosts.udp(hosts.target, TARGET, 5000)
    daemon.send(tun, udp_packet(TARGET, b"question"))
    assert service.recvfrom(100) == (b"question", (CLIENT, 4000))
    service.sendto(b"answer", (CLIENT, 4000))
    assert daemon.receive(tun)[Raw].load == b"answer"


@pytest.mark.parametrize("strict", [False, True])
def test_a_nat_target_sees_the_gateways_address_and_the_client_gets_the_answer(hosts: Hosts, strict: bool) -> None:
    if strict:
        strict_reverse_path(hosts)
    daemon = hosts.started()
    tun = daemon.add(make_spec("main", replace(OFFICE, nat=True)))
    service = hosts.udp(hosts.target, TARGET, 5000)
    daemon.send(tun, udp_packet(TARGET, b"question"))
    question, sender = service.recvfrom(100)
    assert (question, sender[0]) == (b"question", "10.20.0.1")
    service.sendto(b"answer", sender)
    answer = daemon.receive(tun)
    assert (answer.src, answer.dst, answer[Raw].load) == (TARGET, CLIENT, b"answer")


def test_nat_and_routed_targets_on_one_interface_are_told_apart(hosts: Hosts) -> None:
    behind = replace(OFFICE, name="behind", nat=True, gateway=IPv4Address(TARGET))
    daemon = hosts.started()
    tun = daemon.add(make_spec("main", OFFICE, behind, routes=[("10.20.0.0/24", "office"), ("10.30.0.0/16", "behind")]))
    on_link, further = hosts.udp(hosts.target, TARGET, 5000), hosts.udp(hosts.target, BEHIND_TARGET, 5000)
    daemon.send(tun, udp_packet(TARGET, b"question"))
    daemon.send(tun, udp_packet(BEHIND_TARGET, b"question"))
    assert on_link.recvfrom(100)[1][0] == CLIENT
    assert further.recvfrom(100)[1][0] == "10.20.0.1"


@pytest.mark.parametrize("nat", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_a_network_that_the_main_table_looks_for_elsewhere_is_reached_through_the_targets_gateway(
    hosts: Hosts, strict: bool, nat: bool
) -> None:
    if strict:
        strict_reverse_path(hosts)
    daemon = hosts.started()
    office = replace(OFFICE, gateway=IPv4Address(TARGET), nat=nat)
    tun = daemon.add(make_spec("main", office, routes=[("10.30.0.0/16", "office")]))
    service = hosts.udp(hosts.target, BEHIND_TARGET, 5000)
    daemon.send(tun, udp_packet(BEHIND_TARGET, b"question"))
    question, sender = service.recvfrom(100)
    service.sendto(b"answer to " + question, sender)
    answer = daemon.receive(tun)
    assert (answer.src, answer.dst, answer[Raw].load) == (BEHIND_TARGET, CLIENT, b"answer to question")


def test_what_has_no_route_of_the_endpoint_is_unreachable_even_where_the_host_knows_a_way(hosts: Hosts) -> None:
    hosts.gateway.sysctl("net.ipv4.ip_forward", 1)
    daemon = hosts.started()
    tun = daemon.add(make_spec())
    daemon.send(tun, udp_packet("192.0.2.2", b"to the uplink"))
    daemon.send(tun, udp_packet("198.51.100.1", b"to the default route"))
    for destination in ("192.0.2.2", "198.51.100.1"):
        refusal = daemon.receive(tun)
        assert is_unreachable(refusal)
        assert (refusal.src, refusal[ICMP].payload.dst) == (GATEWAY_OF_CLIENTS, destination)


def test_the_hosts_own_addresses_stay_reachable(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec())
    for address in (GATEWAY_OF_CLIENTS, "10.20.0.1", "192.0.2.1"):
        daemon.send(tun, IP(src=CLIENT, dst=address) / ICMP(id=7))
        echo = daemon.receive(tun)
        assert (echo.src, echo[ICMP].type) == (address, 0)


def test_a_target_cannot_open_a_connection_to_a_client(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec())
    service = hosts.udp(hosts.target, TARGET, 5000)
    service.sendto(b"unasked", (CLIENT, 4000))
    hosts.udp(hosts.target, TARGET, 5001).sendto(b"unasked", (CLIENT, 4001))
    daemon.send(tun, udp_packet(TARGET, b"question", port=5002))
    asked = hosts.udp(hosts.target, TARGET, 5002)
    daemon.send(tun, udp_packet(TARGET, b"question", port=5002))
    asked.recvfrom(100)
    asked.sendto(b"answer", (CLIENT, 4000))
    first = daemon.receive(tun)
    while ICMP in first:  # the port was closed when the first question came, which the client may learn
        first = daemon.receive(tun)
    assert first[Raw].load == b"answer"
    assert hosts.drops("clients are not reachable") == 2


def test_related_errors_reach_the_client(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec("main", replace(OFFICE, nat=True)))
    daemon.send(tun, udp_packet(TARGET, b"to a closed port", port=9))
    error = daemon.receive(tun)
    assert (error.src, error[ICMP].type, error[ICMP].code) == (TARGET, 3, 3)
    assert error[ICMP].payload.src == CLIENT


def test_a_target_opens_a_connection_where_clients_are_reachable(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec(clients_reachable=True))
    hosts.udp(hosts.target, TARGET, 5000).sendto(b"unasked", (CLIENT, 4000))
    assert daemon.receive(tun)[UDP].dport == 4000


def test_the_host_does_not_become_a_router_for_the_targets_neighbours(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec("main", OFFICE, LAB))
    assert hosts.forwards("eth1")
    assert hosts.forwards("eth2")
    service = hosts.udp(hosts.second, SECOND, 5000)
    hosts.udp(hosts.target, TARGET, 5000).sendto(b"from a neighbour", (SECOND, 5000))
    daemon.send(tun, udp_packet(SECOND, b"from a client"))
    assert service.recvfrom(100)[0] == b"from a client"
    assert hosts.drops("not a router for others") == 1
    assert not hosts.forwards("all")
    assert not hosts.forwards("eth0")


def test_a_clients_address_is_believed_from_its_tunnel_only(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec("main", OFFICE, LAB))
    hosts.target.ip(f"addr add {CLIENT}/32 dev lo")
    service = hosts.udp(hosts.gateway, "10.20.0.1", 5000)
    hosts.udp(hosts.target, CLIENT, 4000).sendto(b"forged", ("10.20.0.1", 5000))
    daemon.send(tun, udp_packet("10.20.0.1", b"genuine"))
    assert service.recvfrom(100)[0] == b"genuine"
    assert hosts.drops("client address from elsewhere") == 1


def test_clients_of_one_endpoint_do_not_reach_those_of_another(hosts: Hosts) -> None:
    daemon = hosts.started()
    one = daemon.add(make_spec("one"))
    other = daemon.add(make_spec("other", clients="10.90.0.0/22", clients_reachable=True))
    daemon.send(one, udp_packet("10.90.0.5", b"across"))
    assert is_unreachable(daemon.receive(one))
    daemon.send(other, udp_packet(CLIENT, b"across", source="10.90.0.5"))
    assert is_unreachable(daemon.receive(other))


def test_the_host_itself_reaches_clients_from_the_gateways_address(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec())
    hosts.udp(hosts.gateway, "0.0.0.0").sendto(b"hello", (CLIENT, 4000))
    greeting = daemon.receive(tun)
    assert (greeting.src, greeting[Raw].load) == (GATEWAY_OF_CLIENTS, b"hello")


def test_a_changed_spec_moves_packets_by_the_new_routes_and_keeps_connections(hosts: Hosts) -> None:
    daemon = hosts.started()
    tun = daemon.add(make_spec("main", replace(OFFICE, nat=True)))
    service = hosts.udp(hosts.target, TARGET, 5000)
    daemon.send(tun, udp_packet(TARGET, b"before"))
    _, sender = service.recvfrom(100)
    assert daemon.call("update", "main", make_spec("main", replace(OFFICE, nat=True), LAB)) == ()
    service.sendto(b"answer", sender)
    assert daemon.receive(tun)[Raw].load == b"answer"
    second = hosts.udp(hosts.second, SECOND, 5000)
    daemon.send(tun, udp_packet(SECOND, b"after"))
    assert second.recvfrom(100) == (b"after", (CLIENT, 4000))
    assert daemon.call("update", "main", make_spec("main", LAB)) == ()
    daemon.send(tun, udp_packet(TARGET, b"no longer"))
    assert is_unreachable(daemon.receive(tun))
    assert not hosts.forwards("eth1")
